import { randomUUID } from "node:crypto";
import { Deferred } from "../orchestrator/deferred.ts";
import type { WorkerInfo } from "../orchestrator/events.ts";
import type { RequestEvent } from "../orchestrator/transport.ts";
import { GlimpseError } from "../protocol/errors.ts";
import { Call, type CallContext } from "./call.ts";
import type { TokenCount } from "./count.ts";
import { EventBuffer } from "./event-buffer.ts";
import { Generation } from "./generation.ts";
import type { RequestObserver } from "./observe/observer.ts";
import type { AnyInput } from "./request/input.ts";
import type { PreparedRequest } from "./request/prepare.ts";
import type { GenerateResult, StreamEvent, Warning } from "./result.ts";
import { type EventIterator, textsOf } from "./text-stream.ts";

/** Whoever answers requests, as what is built on requests sees it. */
export interface Client {
  stream(input: AnyInput): RunningRequest;
  count(input: AnyInput): Promise<TokenCount>;
  workers(): WorkerInfo[];
}

/** Of a stream, what does not depend on whether its answer has a schema. */
export type RunningRequest = Pick<GenerationStream, "result" | "cancel">;

export interface RequestContext extends CallContext {
  /** What the workers run, if that is known yet. */
  model: string | undefined;
  observer: Required<RequestObserver>;
}

/**
 * One running request. It was sent when it was made; it can be iterated once, for its events, and is not a promise, so
 * an async function may return it. Leaving the loop early cancels the request.
 */
export class GenerationStream implements AsyncIterable<StreamEvent> {
  /**
   * The whole result. Need not be awaited, and awaiting it needs no iteration. After `cancel()` or `break` it resolves
   * with what there is and finishReason `cancelled`; it rejects with a GlimpseError, which carries what there is as
   * `partial`, when the caller's signal fires or the request fails.
   */
  readonly result: Promise<GenerateResult>;
  readonly #buffer = new EventBuffer();
  readonly #generation = new Generation(randomUUID());
  readonly #ending = new Deferred<GenerateResult>();
  readonly #observer: Required<RequestObserver>;
  readonly #call: Call;
  #iterated = false;

  constructor(input: AnyInput, context: RequestContext) {
    const { requestId, seed } = this.#generation;
    // Who only iterates sees the error in the loop.
    this.result = this.#ending.promise;
    this.#observer = context.observer;
    this.#observer.started({ requestId, model: context.model });
    this.#call = new Call(
      context,
      input,
      { id: requestId, seed },
      {
        accepted: (options) => {
          this.#generation.seed = options.seed;
        },
        prepared: (request) => {
          this.#generation.prepared();
          this.#tellSubmitted(request);
        },
        event: (event) => this.#onEvent(event),
        failed: (error) => this.#fail(error),
        partial: () => this.#generation.partial(),
      },
    );
  }

  #tellSubmitted({ options, frames }: Pick<PreparedRequest, "options" | "frames">): void {
    const bytes = frames.reduce((sum, frame) => sum + frame.byteLength, 0);
    const { requestId } = this.#generation;
    this.#observer.submitted({ requestId, options, pictures: frames.length, bytes });
  }

  #onEvent(event: Exclude<RequestEvent, { type: "error" }>): void {
    switch (event.type) {
      case "queued":
        return this.#buffer.push(event);
      case "tokens":
        return this.#take(event);
      case "warning":
        return this.#warn(this.#generation.warning(event));
      case "done":
        return this.#finish(this.#generation.result(event));
      case "counted":
        // Comes of what asks for it only.
        return;
      default:
        return event satisfies never;
    }
  }

  #take(event: RequestEvent & { type: "tokens" }): void {
    const { requestId, firstTokenMs: before } = this.#generation;
    const events = this.#generation.tokens(event);
    const { firstTokenMs } = this.#generation;
    if (before === undefined && firstTokenMs !== undefined) {
      this.#observer.gotFirstToken({ requestId, firstTokenMs });
    }
    for (const part of events) this.#buffer.push(part);
  }

  #warn(warning: Warning): void {
    this.#observer.warned({ requestId: this.#generation.requestId, warning });
    this.#buffer.push({ type: "warning", ...warning });
  }

  /** Frees the worker. `result` resolves with what there is, unless the request has ended already. */
  cancel(): void {
    this.#call.cancel();
  }

  #finish(result: GenerateResult): void {
    this.#observer.finished({ requestId: result.requestId, result });
    this.#buffer.push({ type: "finish", result });
    this.#buffer.end();
    this.#ending.resolve(result);
  }

  #fail(error: GlimpseError): void {
    this.#observer.failed({ requestId: this.#generation.requestId, error });
    this.#buffer.fail(error);
    this.#ending.reject(error);
  }

  /**
   * The answer as it comes, without thinking, tags and other events. It is the stream's one iteration: leaving its loop
   * cancels, and it throws what the stream throws.
   */
  get textStream(): AsyncIterable<string> {
    return { [Symbol.asyncIterator]: () => textsOf(this[Symbol.asyncIterator]()) };
  }

  [Symbol.asyncIterator](): EventIterator<StreamEvent> {
    if (this.#iterated) {
      throw new GlimpseError("INVALID_REQUEST", "a stream can be iterated once, and this one has been", {
        hint: "Await its `result`, or call stream() again.",
      });
    }
    this.#iterated = true;
    return {
      next: () => this.#buffer.next(),
      return: () => {
        this.cancel();
        return Promise.resolve({ done: true, value: undefined });
      },
    };
  }

  /** Cancels what has not ended, and resolves when it has; never rejects. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.cancel();
    await this.result.catch(() => {});
  }
}
