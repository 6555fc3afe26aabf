import type { WorkerEvent, WorkerInfo } from "../orchestrator/events.ts";
import type { Transport } from "../orchestrator/transport.ts";
import { GlimpseError } from "../protocol/errors.ts";
import { countTokens, type TokenCount } from "./count.ts";
import type { GenerateInput } from "./request/input.ts";
import type { GenerateResult } from "./result.ts";
import { GenerationStream } from "./stream.ts";

/** Takes nothing any more. */
const draining: Pick<Transport, "submit"> = {
  submit(_, onEvent) {
    const error = new GlimpseError("DISPOSED", "the client takes no more requests: it is draining", {
      hint: "launch() or connect() makes a new one.",
    });
    setImmediate(() => onEvent({ type: "error", error }));
    return { cancel: () => {} };
  },
};

/** A running model. Made by `launch()` or `connect()`; `close()` it, or declare it with `await using`. */
export class Glimpse implements AsyncDisposable {
  readonly #transport: Transport;
  readonly #allowHosts: ReadonlySet<string>;
  /** For each request whose input is still being read, and each count. */
  readonly #reading = new Set<Promise<void>>();
  #draining = false;

  constructor(transport: Transport, options: { allowHosts: ReadonlySet<string> }) {
    this.#transport = transport;
    this.#allowHosts = options.allowHosts;
  }

  /** Sends a request and resolves with the whole result. Rejects with a GlimpseError, never with anything else. */
  generate(input: GenerateInput): Promise<GenerateResult> {
    return this.stream(input).result;
  }

  /** Sends a request at once and returns a handle for its events, its result and its cancelling. Never throws. */
  stream(input: GenerateInput): GenerationStream {
    const transport = this.#draining ? draining : this.#transport;
    let onSent!: () => void;
    const sent = new Promise<void>((resolve) => {
      onSent = resolve;
    });
    this.#reading.add(sent);
    void sent.then(() => this.#reading.delete(sent));
    return new GenerationStream(transport, input, { allowHosts: this.#allowHosts, onSent });
  }

  /**
   * Tells the tokens of a prompt before they are spent, of every kind of medium, and the pages of a PDF and the frames of
   * a video besides. Only headers are read, and nothing is generated; a prompt that is too long is counted too. Options of
   * generation are checked and have no effect; `signal`, `timeoutMs` and `queueTimeoutMs` hold.
   */
  count(input: GenerateInput): Promise<TokenCount> {
    const count = countTokens(this.#draining ? draining : this.#transport, input, this.#allowHosts);
    const ended = count.then(
      () => {},
      () => {},
    );
    this.#reading.add(ended);
    void ended.then(() => this.#reading.delete(ended));
    return count;
  }

  /** The workers as they are now. */
  workers(): WorkerInfo[] {
    return this.#transport.workers();
  }

  /** Calls `listener` with everything that happens to the workers from now on; the function that is returned ends that. */
  onEvent(listener: (event: WorkerEvent) => void): () => void {
    return this.#transport.subscribe(listener);
  }

  /** Takes no more requests, which fail as DISPOSED, and resolves when all that it has taken have ended. */
  async drain(): Promise<void> {
    this.#draining = true;
    await Promise.all(this.#reading);
    await this.#transport.drain();
  }

  /**
   * Replaces every worker by a new process, one after the other. Each finishes what it has; no request is lost, and
   * others are taken meanwhile. One that was given up (state `failed`) is tried again. Rejects when a worker does not
   * come back; those after it stay as they are.
   */
  restart(): Promise<void> {
    return this.#transport.restart();
  }

  /**
   * Ends running requests with DISPOSED and the workers with them; resolves when no process is left, but for one that
   * not even SIGKILL can end. Of a client that `connect()` made, the workers stay.
   */
  close(): Promise<void> {
    return this.#transport.close();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}
