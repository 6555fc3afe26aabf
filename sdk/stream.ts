import { randomUUID } from "node:crypto";
import type { WorkerInfo } from "../orchestrator/events.ts";
import { cancelledEarly } from "../orchestrator/request.ts";
import type { RequestEvent, SubmittedRequest, Transport } from "../orchestrator/transport.ts";
import { GlimpseError } from "../protocol/errors.ts";
import { onAbort } from "./abort.ts";
import type { TokenCount } from "./count.ts";
import { EventBuffer } from "./event-buffer.ts";
import { Generation } from "./generation.ts";
import { allOf, type RequestObserver } from "./observe/observer.ts";
import type { AnyInput } from "./request/input.ts";
import { type PreparedRequest, prepareRequest } from "./request/prepare.ts";
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

export interface RequestContext {
  allowHosts: ReadonlySet<string>;
  /** What the workers run, if that is known yet. */
  model: string | undefined;
  observers: readonly RequestObserver[];
  /** Called when the transport has the request, or never will have. */
  onSent: () => void;
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
  readonly #generation: Generation;
  #settle!: { resolve: (result: GenerateResult) => void; reject: (error: GlimpseError) => void };
  readonly #preparing = new AbortController();
  readonly #letGo: () => void;
  readonly #observer: Required<RequestObserver>;
  /** The stack of the call, which an error shows in the place of its own: that of the event loop helps nobody. */
  readonly #calledFrom: { stack?: string } = {};
  #request: SubmittedRequest | undefined;
  #timer: NodeJS.Timeout | undefined;
  #cancelled = false;
  #ended = false;
  #iterated = false;

  constructor(transport: Pick<Transport, "submit">, input: AnyInput, context: RequestContext) {
    const { allowHosts, model, observers, onSent } = context;
    this.#observer = allOf(observers);
    Error.captureStackTrace(this.#calledFrom, GenerationStream);
    const requestId = randomUUID();
    this.#generation = new Generation(requestId);
    this.result = new Promise((resolve, reject) => {
      this.#settle = { resolve, reject };
    });
    this.#observer.started({ requestId, model });
    // Who only iterates sees the error in the loop.
    this.result.catch(() => {});
    // Anything else than a signal is refused with the other options.
    const signal = input?.signal instanceof AbortSignal ? input.signal : undefined;
    this.#letGo = signal === undefined ? () => {} : onAbort(signal, () => this.#abort(signal.reason));
    if (signal?.aborted) {
      this.#abort(signal.reason);
      onSent();
    } else void this.#run(transport, requestId, input, allowHosts).then(onSent);
  }

  async #run(
    transport: Pick<Transport, "submit">,
    id: string,
    input: AnyInput,
    allowHosts: ReadonlySet<string>,
  ): Promise<void> {
    try {
      const { labels, ...prepared } = await prepareRequest(input, {
        allowHosts,
        signal: this.#preparing.signal,
        newSeed: () => this.#generation.seed,
        onOptions: ({ seed, timeoutMs }) => {
          this.#generation.seed = seed;
          if (timeoutMs !== undefined) this.#timer = setTimeout(() => this.#expire(timeoutMs), timeoutMs);
        },
      });
      if (this.#ended) return;
      this.#generation.prepared(labels);
      this.#tellSubmitted(prepared);
      this.#request = transport.submit({ id, ...prepared }, (event) => this.#onEvent(event));
    } catch (error) {
      this.#fail(
        GlimpseError.is(error) ? error : new GlimpseError("GENERATION_FAILED", String(error), { cause: error }),
      );
    }
  }

  #tellSubmitted({ options, frames }: Pick<PreparedRequest, "options" | "frames">): void {
    const bytes = frames.reduce((sum, frame) => sum + frame.byteLength, 0);
    const { requestId } = this.#generation;
    this.#observer.submitted({ requestId, options, pictures: frames.length, bytes });
  }

  #onEvent(event: RequestEvent): void {
    if (this.#ended) return;
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
      case "error":
        return this.#fail(event.error, event.media);
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
    if (this.#ended || this.#cancelled) return;
    this.#cancelled = true;
    if (this.#request !== undefined) return this.#request.cancel();
    this.#finish(this.#generation.result(cancelledEarly(0)));
    this.#preparing.abort();
  }

  #abort(reason: unknown): void {
    this.#giveUp(new GlimpseError("ABORTED", "the request was aborted by its signal", { cause: reason }));
  }

  #expire(timeoutMs: number): void {
    const written = this.#generation.partial().tokenIds.length;
    const what = `timeoutMs: the ${timeoutMs} ms have passed, after ${written} tokens`;
    const hint = "Allow more time, ask for fewer tokens with maxNewTokens, or add workers.";
    this.#giveUp(new GlimpseError("TIMEOUT", what, { hint }));
  }

  #giveUp(error: GlimpseError): void {
    // First, so that a cancel which ends the request at once does not pass for its ending.
    this.#fail(error);
    this.#request?.cancel();
    this.#preparing.abort(error.cause);
  }

  #finish(result: GenerateResult): void {
    if (!this.#end()) return;
    this.#observer.finished({ requestId: result.requestId, result });
    this.#buffer.push({ type: "finish", result });
    this.#buffer.end();
    this.#settle.resolve(result);
  }

  #fail(error: GlimpseError, media?: number): void {
    if (!this.#end()) return;
    const complete = this.#generation.error(error, media);
    complete.stack = `${complete.name}: ${complete.message}\n${this.#calledFrom.stack?.split("\n").slice(1).join("\n")}`;
    this.#observer.failed({ requestId: this.#generation.requestId, error: complete });
    this.#buffer.fail(complete);
    this.#settle.reject(complete);
  }

  /**
   * The answer as it comes, without thinking, tags and other events. It is the stream's one iteration: leaving its loop
   * cancels, and it throws what the stream throws.
   */
  get textStream(): AsyncIterable<string> {
    return { [Symbol.asyncIterator]: () => textsOf(this[Symbol.asyncIterator]()) };
  }

  /** Whether this is the ending of the request: the first one is. */
  #end(): boolean {
    if (this.#ended) return false;
    this.#ended = true;
    clearTimeout(this.#timer);
    this.#letGo();
    return true;
  }

  [Symbol.asyncIterator](): EventIterator {
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
}
