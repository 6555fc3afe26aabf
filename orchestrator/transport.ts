import type { GlimpseError } from "../protocol/errors.ts";
import type { DoneMessage, GenerateMessage, Part, WarningCode } from "../protocol/messages.ts";
import type { WorkerInfo } from "./events.ts";

/** A request as the SDK hands it over: everything checked, every picture a run of bytes. */
export type Submission = Pick<GenerateMessage, "messages" | "media" | "options"> & {
  /** Unique for as long as the request lives. */
  id: string;
  frames: readonly Uint8Array[];
};

/** What becomes of a request. `done` and `error` are endings: exactly one of them comes, and nothing after it. */
export type RequestEvent =
  /** `position` requests are ahead of this one; 0 when a worker has it. */
  | { type: "queued"; position: number }
  | { type: "tokens"; ids: readonly number[]; parts: readonly Part[] }
  | { type: "warning"; code: WarningCode; message: string; media?: number | undefined }
  | {
      type: "done";
      finishReason: DoneMessage["finishReason"];
      usage: DoneMessage["usage"];
      timing: DoneMessage["timing"];
      /** Undefined when the request ended before a worker had it. */
      worker: WorkerInfo | undefined;
    }
  /** `media` is the medium at fault, when there is one. */
  | { type: "error"; error: GlimpseError; media?: number | undefined };

export interface SubmittedRequest {
  /** Asks for an early end: `done` with finishReason `cancelled`, unless another ending was quicker. */
  cancel(): void;
}

/**
 * What the client needs of whoever runs the workers. The orchestrator in this process is one; a connection to an
 * orchestrator in another process can be a second.
 */
export interface Transport {
  /** `onEvent` is never called before `submit` has returned; `cancel()` may call it at once. */
  submit(submission: Submission, onEvent: (event: RequestEvent) => void): SubmittedRequest;
  workers(): WorkerInfo[];
  /** Ends every request with DISPOSED and every worker. Resolves when no process is left. */
  close(): Promise<void>;
}
