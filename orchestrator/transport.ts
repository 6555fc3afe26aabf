import type { GlimpseError } from "../protocol/errors.ts";
import type { CountedMessage, DoneMessage, GenerateMessage, Part } from "../protocol/messages.ts";
import type { WarningCode } from "../protocol/partial-result.ts";
import type { WorkerEvent, WorkerInfo } from "./events.ts";

/** A request as the SDK hands it over: everything checked, every picture, video file and PDF a run of bytes. */
export type Submission = Pick<GenerateMessage, "messages" | "media" | "options"> & {
  /** Unique for as long as the request lives. */
  id: string;
  frames: readonly Uint8Array[];
  /** It is not to be answered: `counted` is its good ending, and tells the tokens of its prompt. */
  count?: true | undefined;
  /** From the submission until a worker has it for the first time; then the request fails as TIMEOUT. */
  queueTimeoutMs?: number | undefined;
};

/**
 * What becomes of a request. `done`, `counted` and `error` are endings: exactly one of them comes, and nothing after it.
 * One that counts ends as `done` only when it was cancelled.
 */
export type RequestEvent =
  /** `position` requests are ahead of this one; 0 when a worker has it. */
  | { type: "queued"; position: number }
  | { type: "tokens"; ids: readonly number[]; parts: readonly Part[] }
  | { type: "warning"; code: WarningCode; message: string; media?: number | undefined }
  | Omit<CountedMessage, "request" | "attempt">
  | {
      type: "done";
      finishReason: DoneMessage["finishReason"];
      usage: DoneMessage["usage"];
      timing: DoneMessage["timing"];
      /** Undefined when the request ended before a worker had it. */
      worker: WorkerInfo | undefined;
      /** How many times another worker took the request over. */
      resumed: number;
    }
  /** `media` is the medium at fault, when there is one. */
  | { type: "error"; error: GlimpseError; media?: number | undefined };

export type Ending = RequestEvent & { type: "done" | "counted" | "error" };

export function isEnding(event: RequestEvent): event is Ending {
  return event.type === "done" || event.type === "counted" || event.type === "error";
}

export interface SubmittedRequest {
  /** Asks for an early end: `done` with finishReason `cancelled`, unless another ending was quicker. */
  cancel(): void;
}

/**
 * What the client needs of whoever runs the workers. The orchestrator in this process is one; a connection to an
 * orchestrator in another process is a second.
 */
export interface Transport {
  /** `onEvent` is never called before `submit` has returned; `cancel()` may call it at once. */
  submit(submission: Submission, onEvent: (event: RequestEvent) => void): SubmittedRequest;
  workers(): WorkerInfo[];
  /** Calls `listener` with every event from now on; the function that is returned ends that. */
  subscribe(listener: (event: WorkerEvent) => void): () => void;
  /** Takes no more requests (they fail as DISPOSED) and resolves when all that were taken have ended. The workers stay. */
  drain(): Promise<void>;
  /**
   * Replaces the workers by new processes, one after the other; each finishes what is on board first, and one that was
   * given up is tried again. Rejects at the first that does not come back; those after it stay as they are.
   */
  restart(): Promise<void>;
  /**
   * Ends every request with DISPOSED and every worker. Resolves when no process is left, but for one that not even
   * SIGKILL can end.
   */
  close(): Promise<void>;
}
