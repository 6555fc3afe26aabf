export type { CrashReport, LossCause, WorkerEvent, WorkerInfo, WorkerStateName } from "../orchestrator/events.ts";
export type { ExitReason } from "../orchestrator/exit-reason.ts";
export type { OnWorkerLoss } from "../orchestrator/failover.ts";
export type { Limits } from "../orchestrator/supervision/limits.ts";
export {
  type ErrorCode,
  errorCodes,
  GlimpseError,
  type GlimpseErrorDetails,
  type OutputIssue,
} from "../protocol/errors.ts";
export type { Device, Dtype, FinishReason, Usage, WarningCode } from "../protocol/messages.ts";
export type { Glimpse } from "./client.ts";
export { type ConnectOptions, connect } from "./connect.ts";
export { type LaunchOptions, launch } from "./launch.ts";
export { type ImageRef, type ImageSource, image, type VideoInput, type VideoRef, video } from "./media/image.ts";
export type { InferOutput, JsonSchema, OutputSchema } from "./output/schema.ts";
export type { StandardJsonSchema } from "./output/standard.ts";
export type {
  Content,
  GenerateInput,
  ImageContent,
  Message,
  MessagesInput,
  PromptInput,
  StructuredInput,
  TextContent,
  VideoContent,
} from "./request/input.ts";
export type { GenerateOptions } from "./request/options.ts";
export type {
  Box,
  CancelledResult,
  GenerateResult,
  PartialOutput,
  PartialResult,
  StreamEvent,
  StructuredEvent,
  StructuredResult,
  Timing,
  Warning,
} from "./result.ts";
export type { GenerationStream } from "./stream.ts";
export type { StructuredStream } from "./structured-stream.ts";
