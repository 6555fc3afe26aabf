export type { CrashReport, LossCause, WorkerEvent, WorkerInfo, WorkerStateName } from "../orchestrator/events.ts";
export type { ExitReason } from "../orchestrator/exit-reason.ts";
export type { OnWorkerLoss } from "../orchestrator/failover.ts";
export type { Limits } from "../orchestrator/supervision/limits.ts";
export { type ErrorCode, errorCodes, GlimpseError, type GlimpseErrorDetails } from "../protocol/errors.ts";
export type { Device, Dtype, FinishReason, Usage, WarningCode } from "../protocol/messages.ts";
export type { Glimpse } from "./client.ts";
export { type ConnectOptions, connect } from "./connect.ts";
export type { CountedMedium, TokenCount } from "./count.ts";
export { type LaunchOptions, launch } from "./launch.ts";
export type { CapOptions } from "./media/cap.ts";
export { type ImageOptions, type ImageRef, type ImageSource, image } from "./media/image.ts";
export { type PdfOptions, type PdfRef, type PdfSource, pdf } from "./media/pdf.ts";
export type { MediaSource } from "./media/source.ts";
export type { ByteStream } from "./media/stream-bytes.ts";
export { type VideoInput, type VideoOptions, type VideoRef, type VideoSource, video } from "./media/video.ts";
export type {
  Content,
  GenerateInput,
  ImageContent,
  Message,
  MessagesInput,
  PdfContent,
  PromptInput,
  TextContent,
  VideoContent,
} from "./request/input.ts";
export type { GenerateOptions } from "./request/options.ts";
export type { Box, GenerateResult, PartialResult, StreamEvent, Timing, Warning } from "./result.ts";
export type { GenerationStream } from "./stream.ts";
