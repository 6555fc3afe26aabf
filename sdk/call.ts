import { cancelledEarly } from "../orchestrator/request.ts";
import {
  isEnding,
  type RequestEvent,
  type Submission,
  type SubmittedRequest,
  type Transport,
} from "../orchestrator/transport.ts";
import { GlimpseError } from "../protocol/errors.ts";
import { onAbort, requestAborted } from "./abort.ts";
import type { CallStack } from "./call-stack.ts";
import type { AnyInput } from "./request/input.ts";
import { type PreparedRequest, prepareRequest } from "./request/prepare.ts";
import type { PartialResult } from "./result.ts";

export interface CallContext {
  transport: Pick<Transport, "submit">;
  allowHosts: ReadonlySet<string>;
  stack: CallStack;
  /** Called when the transport has the request, or never will have. */
  onSent: () => void;
}

/** What is called: `seed` is used by an input that names none. */
export type CallSubject = Pick<Submission, "id" | "count"> & { seed: number };

/** Who hears of a call. Messages name the medium that they are about. */
export interface CallListener {
  /** The options are good, and `seed` is the one that is used. Inside the call, before media are read. */
  accepted?(options: { seed: number }): void;
  /** All media are read; the transport has it next. */
  prepared?(request: PreparedRequest): void;
  event(event: Exclude<RequestEvent, { type: "error" }>): void;
  failed(error: GlimpseError): void;
  /** What has been generated, for an error to carry. */
  partial?(): PartialResult;
}

/**
 * One call from its arguments to its one ending: it reads the media, hands the request over, and watches the caller's
 * signal and `timeoutMs`. The ending is an event `done` or `counted`, or `failed`; nothing follows it.
 */
export class Call {
  readonly #subject: CallSubject;
  readonly #listener: CallListener;
  readonly #stack: CallStack;
  readonly #preparing = new AbortController();
  readonly #letGo: () => void;
  #labels: readonly string[] = [];
  #request: SubmittedRequest | undefined;
  #timer: NodeJS.Timeout | undefined;
  #cancelled = false;
  #ended = false;

  constructor(context: CallContext, input: AnyInput, subject: CallSubject, listener: CallListener) {
    this.#stack = context.stack;
    this.#subject = subject;
    this.#listener = listener;
    // Anything else than a signal is refused with the other options.
    const signal = input?.signal instanceof AbortSignal ? input.signal : undefined;
    this.#letGo = signal === undefined ? () => {} : onAbort(signal, () => this.#abort(signal));
    if (signal?.aborted) {
      this.#abort(signal);
      context.onSent();
    } else void this.#run(context, input).then(context.onSent);
  }

  async #run({ transport, allowHosts }: CallContext, input: AnyInput): Promise<void> {
    const { id, count, seed } = this.#subject;
    try {
      const prepared = await prepareRequest(input, {
        allowHosts,
        signal: this.#preparing.signal,
        newSeed: () => seed,
        onOptions: ({ seed, timeoutMs }) => {
          this.#listener.accepted?.({ seed });
          if (timeoutMs !== undefined) this.#timer = setTimeout(() => this.#expire(timeoutMs), timeoutMs);
        },
      });
      if (this.#ended) return;
      const { labels, ...request } = prepared;
      this.#labels = labels;
      this.#listener.prepared?.(prepared);
      this.#request = transport.submit({ id, ...request, count }, (event) => this.#take(event));
    } catch (error) {
      this.#fail(
        GlimpseError.is(error) ? error : new GlimpseError("GENERATION_FAILED", String(error), { cause: error }),
      );
    }
  }

  /** Asks for an early end: `done` with finishReason `cancelled`, unless another ending is quicker. */
  cancel(): void {
    if (this.#ended || this.#cancelled) return;
    this.#cancelled = true;
    if (this.#request !== undefined) return this.#request.cancel();
    this.#take(cancelledEarly(0));
    this.#preparing.abort();
  }

  #take(event: RequestEvent): void {
    if (this.#ended) return;
    if (event.type === "error") return this.#fail(event.error, event.media);
    if (isEnding(event)) this.#end();
    this.#listener.event(
      event.type === "warning" ? { ...event, message: this.#naming(event.message, event.media) } : event,
    );
  }

  #abort(signal: AbortSignal): void {
    this.#giveUp(requestAborted(signal));
  }

  #expire(timeoutMs: number): void {
    const written = this.#listener.partial?.().tokenIds.length;
    const what = `timeoutMs: the ${timeoutMs} ms have passed${written === undefined ? "" : `, after ${written} tokens`}`;
    const fewer = this.#subject.count ? "" : ", ask for fewer tokens with maxNewTokens";
    this.#giveUp(new GlimpseError("TIMEOUT", what, { hint: `Allow more time${fewer}, or add workers.` }));
  }

  #giveUp(error: GlimpseError): void {
    // First, so that a cancel which ends the request at once does not pass for its ending.
    this.#fail(error);
    this.#request?.cancel();
    this.#preparing.abort(error.cause);
  }

  #fail(error: GlimpseError, media?: number): void {
    if (this.#ended) return;
    this.#end();
    const { code, hint, retryAfterMs, traceback, cause } = error;
    const details = { hint, retryAfterMs, traceback, cause, requestId: this.#subject.id };
    const partial = this.#listener.partial?.();
    const complete = new GlimpseError(code, this.#naming(error.message, media), { ...details, partial });
    this.#stack.showIn(complete);
    this.#listener.failed(complete);
  }

  #naming(message: string, media: number | undefined): string {
    const label = media === undefined ? undefined : this.#labels[media];
    return label === undefined ? message : `${label}: ${message}`;
  }

  #end(): void {
    this.#ended = true;
    clearTimeout(this.#timer);
    this.#letGo();
  }
}
