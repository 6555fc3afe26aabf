import type { WorkerEvent, WorkerInfo } from "../orchestrator/events.ts";
import type { Transport } from "../orchestrator/transport.ts";
import type { InferInput, InferOutput, OutputSchema } from "./output/schema.ts";
import type { AnyInput, GenerateInput, StructuredInput } from "./request/input.ts";
import type { CancelledResult, GenerateResult, StructuredResult } from "./result.ts";
import { GenerationStream } from "./stream.ts";
import { StructuredStream } from "./structured-stream.ts";

/** A running model. Made by `launch()`; `close()` it, or declare it with `await using`. */
export class Glimpse implements AsyncDisposable {
  readonly #transport: Transport;
  readonly #allowHosts: ReadonlySet<string>;

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
    const stream = new GenerationStream(this.#transport, input, this.#allowHosts);
    // What is no schema at all is refused by the stream.
    return input?.output === undefined ? stream : new StructuredStream(stream, input.output);
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
  drain(): Promise<void> {
    return this.#transport.drain();
  }

  /**
   * Replaces every worker by a new process, one after the other. Each finishes what it has; no request is lost, and
   * others are taken meanwhile. Rejects when a worker does not come back; those after it stay as they are.
   */
  restart(): Promise<void> {
    return this.#transport.restart();
  }

  /** Ends running requests with DISPOSED and the workers with them; resolves when no process is left. */
  close(): Promise<void> {
    return this.#transport.close();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}
