// The declarations name types of Node's, which TypeScript does not look for by itself from version 6 on.
/// <reference types="node" preserve="true" />
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
export type { Device, Dtype, FinishReason, Usage } from "../protocol/messages.ts";
export type { WarningCode } from "../protocol/partial-result.ts";
export type { Batch, ResultOf } from "./batch/batch.ts";
export type { BatchOptions } from "./batch/options.ts";
export type { BatchProgress } from "./batch/progress.ts";
export type { BatchItem, ToInput } from "./batch/run.ts";
export type { Chat, ChatOptions, StructuredTurnOptions, TurnOptions } from "./chat/chat.ts";
export type { SavedContent, SavedMessage } from "./chat/saved.ts";
export type { Glimpse } from "./client.ts";
export { type ConnectOptions, connect } from "./connect.ts";
export type { CountedMedium, TokenCount } from "./count.ts";
export { type DrawableBox, type DrawBoxesOptions, drawBoxes } from "./draw-boxes.ts";
export { type LaunchOptions, launch } from "./launch.ts";
export type { CapOptions } from "./media/cap.ts";
export { type ImageOptions, type ImageRef, type ImageSource, image } from "./media/image.ts";
export { type PdfOptions, type PdfRef, type PdfSource, pdf } from "./media/pdf.ts";
export type { MediaSource } from "./media/source.ts";
export type { ByteStream } from "./media/stream-bytes.ts";
export { type VideoInput, type VideoOptions, type VideoRef, type VideoSource, video } from "./media/video.ts";
export type { ChannelMessages } from "./observe/channels.ts";
export type { Logger, LogLevel, LogOptions } from "./observe/logger.ts";
export type {
  RequestEnd,
  RequestFailure,
  RequestFirstToken,
  RequestStart,
  RequestSubmit,
  RequestWarning,
} from "./observe/observer.ts";
export type { InferOutput, JsonSchema, OutputSchema } from "./output/schema.ts";
export type { StandardJsonSchema } from "./output/standard.ts";
export type {
  AnyInput,
  Content,
  GenerateInput,
  ImageContent,
  Message,
  MessagesInput,
  PdfContent,
  PromptInput,
  StructuredInput,
  TextContent,
  VideoContent,
} from "./request/input.ts";
export type { GenerateOptions } from "./request/options.ts";
export { type Preset, presets } from "./request/presets.ts";
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
export * as tasks from "./tasks/inputs.ts";
export type { OcrPage, OcrResult, OcrSource } from "./tasks/ocr.ts";
export type { OcrOptions, TaskOptions } from "./tasks/options.ts";
