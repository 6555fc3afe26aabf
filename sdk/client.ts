import type { WorkerEvent, WorkerInfo } from "../orchestrator/events.ts";
import type { Transport } from "../orchestrator/transport.ts";
import { GlimpseError } from "../protocol/errors.ts";
import type { InferInput, InferOutput, OutputSchema } from "./output/schema.ts";
import type { AnyInput, GenerateInput, StructuredInput } from "./request/input.ts";
import type { CancelledResult, GenerateResult, StructuredResult } from "./result.ts";
import { GenerationStream } from "./stream.ts";
import { StructuredStream } from "./structured-stream.ts";

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
  /** For each request whose input is still being read. */
  readonly #reading = new Set<Promise<void>>();
  #draining = false;

  constructor(transport: Transport, options: { allowHosts: ReadonlySet<string> }) {
    this.#transport = transport;
    this.#allowHosts = options.allowHosts;
  }

  /** Sends a request and resolves with the whole result. Rejects with a GlimpseError, never with anything else. */
  generate<Schema extends OutputSchema>(input: StructuredInput<Schema>): Promise<StructuredResult<InferOutput<Schema>>>;
  generate(input: GenerateInput): Promise<GenerateResult>;
  generate(input: AnyInput): Promise<GenerateResult | CancelledResult> {
    return this.#start(input).result;
  }

  /** Sends a request at once and returns a handle for its events, its result and its cancelling. Never throws. */
  stream<Schema extends OutputSchema>(
    input: StructuredInput<Schema>,
  ): StructuredStream<InferOutput<Schema>, InferInput<Schema>>;
  stream(input: GenerateInput): GenerationStream;
  stream(input: AnyInput): GenerationStream | StructuredStream<unknown> {
    return this.#start(input);
  }

  #start(input: AnyInput): GenerationStream | StructuredStream<unknown> {
    const stream = this.#submit(input);
    // What is no schema at all is refused by the stream.
    return input?.output === undefined ? stream : new StructuredStream(stream, input.output);
  }

  #submit(input: AnyInput): GenerationStream {
    const transport = this.#draining ? draining : this.#transport;
    let onSent!: () => void;
    const sent = new Promise<void>((resolve) => {
      onSent = resolve;
    });
    this.#reading.add(sent);
    void sent.then(() => this.#reading.delete(sent));
    return new GenerationStream(transport, input, { allowHosts: this.#allowHosts, onSent });
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
