import { randomUUID } from "node:crypto";
import type { RequestEvent, SubmittedRequest, Transport } from "../orchestrator/transport.ts";
import { GlimpseError } from "../protocol/errors.ts";
import type { CountedMessage } from "../protocol/messages.ts";
import { onAbort } from "./abort.ts";
import type { AnyInput } from "./request/input.ts";
import { prepareRequest } from "./request/prepare.ts";

/** The tokens of one medium. Those of all media add up to `imageTokens`. */
export type CountedMedium =
  | { kind: "image"; tokens: number }
  /** `frames`: how many of them the model sees. */
  | { kind: "video"; tokens: number; frames: number; durationMs: number }
  /** `pages`: of the whole document, whichever were chosen; `pageTokens` has an entry for each chosen one. */
  | { kind: "pdf"; tokens: number; pages: number; pageTokens: readonly number[] };

/** What a prompt would cost; `usage` of its answer has the same numbers. */
export interface TokenCount {
  promptTokens: number;
  /** The part of `promptTokens` that stands for pictures, pages or video frames. */
  imageTokens: number;
  /** The most tokens that prompt and answer may have together. */
  contextLength: number;
  /** Whether the prompt leaves room for at least one token of an answer. */
  fits: boolean;
  /** In the order in which the input names them. */
  media: readonly CountedMedium[];
}

/** Has a worker count, which waits its turn as every request does. Rejects with a GlimpseError. */
export function countTokens(
  transport: Pick<Transport, "submit">,
  input: AnyInput,
  allowHosts: ReadonlySet<string>,
): Promise<TokenCount> {
  return new Promise((resolve, reject) => new Count(transport, input, allowHosts, { resolve, reject }));
}

interface Settle {
  resolve: (count: TokenCount) => void;
  reject: (error: GlimpseError) => void;
}

/** One count from its call to its one ending. */
class Count {
  readonly #id = randomUUID();
  readonly #settle: Settle;
  readonly #preparing = new AbortController();
  readonly #letGo: () => void;
  #labels: readonly string[] = [];
  #request: SubmittedRequest | undefined;
  #timer: NodeJS.Timeout | undefined;

  constructor(transport: Pick<Transport, "submit">, input: AnyInput, allowHosts: ReadonlySet<string>, settle: Settle) {
    this.#settle = settle;
    const signal = input?.signal instanceof AbortSignal ? input.signal : undefined;
    this.#letGo = signal === undefined ? () => {} : onAbort(signal, () => this.#abort(signal.reason));
    if (signal?.aborted) this.#abort(signal.reason);
    else void this.#run(transport, input, allowHosts);
  }

  async #run(transport: Pick<Transport, "submit">, input: AnyInput, allowHosts: ReadonlySet<string>): Promise<void> {
    try {
      const { labels, ...prepared } = await prepareRequest(input, {
        allowHosts,
        signal: this.#preparing.signal,
        newSeed: () => 0,
        onOptions: ({ timeoutMs }) => {
          if (timeoutMs !== undefined) this.#timer = setTimeout(() => this.#expire(timeoutMs), timeoutMs);
        },
      });
      if (this.#preparing.signal.aborted) return;
      this.#labels = labels;
      this.#request = transport.submit({ id: this.#id, ...prepared, count: true }, (event) => this.#onEvent(event));
    } catch (error) {
      this.#fail(
        GlimpseError.is(error) ? error : new GlimpseError("GENERATION_FAILED", String(error), { cause: error }),
      );
    }
  }

  #onEvent(event: RequestEvent): void {
    switch (event.type) {
      case "counted":
        this.#end();
        return this.#settle.resolve(toCount(event));
      case "error":
        return this.#fail(event.error, event.media);
      case "queued":
      case "tokens":
      case "warning":
      // It was cancelled, and its caller knows why.
      case "done":
        return;
      default:
        return event satisfies never;
    }
  }

  #abort(reason: unknown): void {
    this.#giveUp(new GlimpseError("ABORTED", "the count was aborted by its signal", { cause: reason }));
  }

  #expire(timeoutMs: number): void {
    const hint = "Allow more time, or add workers: a count waits its turn as every request does.";
    this.#giveUp(new GlimpseError("TIMEOUT", `timeoutMs: the ${timeoutMs} ms have passed`, { hint }));
  }

  #giveUp(error: GlimpseError): void {
    this.#fail(error);
    this.#request?.cancel();
    this.#preparing.abort(error.cause);
  }

  /** Who has settled already does so no more. */
  #fail(error: GlimpseError, media?: number): void {
    this.#end();
    const label = media === undefined ? undefined : this.#labels[media];
    const { code, hint, retryAfterMs, traceback, cause } = error;
    const message = label === undefined ? error.message : `${label}: ${error.message}`;
    this.#settle.reject(new GlimpseError(code, message, { hint, retryAfterMs, traceback, cause, requestId: this.#id }));
  }

  #end(): void {
    clearTimeout(this.#timer);
    this.#letGo();
  }
}

function toCount({ type: _, ...counted }: Omit<CountedMessage, "request" | "attempt">): TokenCount {
  return { ...counted, fits: counted.promptTokens < counted.contextLength };
}
