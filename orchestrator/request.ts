import { GlimpseError } from "../protocol/errors.ts";
import type { DataFromWorker, GenerateMessage } from "../protocol/messages.ts";
import type { WorkerInfo } from "./events.ts";
import type { RequestEvent, Submission, SubmittedRequest } from "./transport.ts";

/** The ending of a request that was cancelled before a worker had it. */
export function cancelledEarly(queueMs: number): RequestEvent & { type: "done" } {
  return {
    type: "done",
    finishReason: "cancelled",
    usage: {
      promptTokens: 0,
      imageTokens: 0,
      cachedTokens: 0,
      cachedImageTokens: 0,
      thinkingTokens: 0,
      completionTokens: 0,
    },
    timing: { queueMs, preprocessMs: 0, prefillMs: 0, decodeMs: 0 },
    worker: undefined,
  };
}

/** One request from its acceptance to its one ending. */
export class Request implements SubmittedRequest {
  readonly id: string;
  readonly frames: readonly Uint8Array[];
  readonly #submission: Submission;
  readonly #onEvent: (event: RequestEvent) => void;
  readonly #onCancel: (request: Request) => void;
  readonly #acceptedAt = performance.now();
  #state: "queued" | "on board" | "ended" = "queued";
  #queueMs = 0;
  #position: number | undefined;
  #tokens = 0;

  constructor(submission: Submission, onEvent: (event: RequestEvent) => void, onCancel: (request: Request) => void) {
    this.id = submission.id;
    this.frames = submission.frames;
    this.#submission = submission;
    this.#onEvent = onEvent;
    this.#onCancel = onCancel;
  }

  get state(): "queued" | "on board" | "ended" {
    return this.#state;
  }

  /** The header for a worker; the request counts as on board from here on. */
  board(): GenerateMessage {
    this.moveTo(0);
    this.#state = "on board";
    this.#queueMs = performance.now() - this.#acceptedAt;
    const { messages, media, options } = this.#submission;
    return { type: "generate", request: this.id, attempt: 0, messages, media, options };
  }

  /** Tells the caller how many requests are ahead, if that has changed. */
  moveTo(position: number): void {
    if (this.#position === position || this.#state !== "queued") return;
    this.#position = position;
    this.#onEvent({ type: "queued", position });
  }

  cancel(): void {
    if (this.#state !== "ended") this.#onCancel(this);
  }

  /** Takes the request out before a worker has seen it. */
  cancelQueued(): void {
    this.#end(cancelledEarly(performance.now() - this.#acceptedAt));
  }

  tokens(item: { index: number; ids: number[]; parts: (RequestEvent & { type: "tokens" })["parts"] }): void {
    if (item.index !== this.#tokens) {
      throw new GlimpseError(
        "PROTOCOL_ERROR",
        `request ${this.id}: expected token ${this.#tokens}, the worker sent ${item.index}`,
      );
    }
    this.#tokens += item.ids.length;
    this.#onEvent({ type: "tokens", ids: item.ids, parts: item.parts });
  }

  warning(message: DataFromWorker & { type: "warning" }): void {
    this.#onEvent({ type: "warning", code: message.code, message: message.message, media: message.media });
  }

  done(message: DataFromWorker & { type: "done" }, worker: WorkerInfo | undefined): void {
    const timing = { ...message.timing, queueMs: message.timing.queueMs + this.#queueMs };
    this.#end({ type: "done", finishReason: message.finishReason, usage: message.usage, timing, worker });
  }

  fail(error: GlimpseError, media?: number): void {
    this.#end({ type: "error", error, media });
  }

  #end(ending: RequestEvent & { type: "done" | "error" }): void {
    if (this.#state === "ended") return;
    this.#state = "ended";
    this.#onEvent(ending);
  }
}
