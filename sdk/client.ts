import { Deferred } from "../orchestrator/deferred.ts";
import type { WorkerEvent, WorkerInfo } from "../orchestrator/events.ts";
import type { Transport } from "../orchestrator/transport.ts";
import { GlimpseError } from "../protocol/errors.ts";
import { type Batch, makeBatch, type ResultOf } from "./batch/batch.ts";
import type { BatchOptions } from "./batch/options.ts";
import type { ToInput } from "./batch/run.ts";
import type { CallContext } from "./call.ts";
import { CallStack } from "./call-stack.ts";
import { Chat, type ChatOptions } from "./chat/chat.ts";
import { countTokens, type TokenCount } from "./count.ts";
import { invalid } from "./invalid.ts";
import type { ImageSource } from "./media/image.ts";
import type { VideoRef } from "./media/video.ts";
import { publishRequests } from "./observe/channels.ts";
import { logRequests } from "./observe/lines.ts";
import type { Log } from "./observe/logger.ts";
import { allOf, type RequestObserver } from "./observe/observer.ts";
import type { InferInput, InferOutput, OutputSchema } from "./output/schema.ts";
import type { AnyInput, GenerateInput, StructuredInput } from "./request/input.ts";
import type { GenerateResult, StructuredResult } from "./result.ts";
import { type Client, GenerationStream } from "./stream.ts";
import { StructuredStream } from "./structured-stream.ts";
import * as tasks from "./tasks/inputs.ts";
import { type OcrResult, type OcrSource, readPages } from "./tasks/ocr.ts";
import type { OcrOptions, TaskOptions } from "./tasks/options.ts";

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
export class Glimpse implements AsyncDisposable, Client {
  readonly #transport: Transport;
  readonly #allowHosts: ReadonlySet<string>;
  readonly #observers: readonly RequestObserver[];
  /** For each call whose input is still being read. */
  readonly #reading = new Set<Promise<void>>();
  #draining = false;

  constructor(transport: Transport, { allowHosts, log }: { allowHosts: ReadonlySet<string>; log?: Log | undefined }) {
    this.#transport = transport;
    this.#allowHosts = allowHosts;
    this.#observers = log === undefined ? [publishRequests] : [publishRequests, logRequests(log)];
  }

  /** Sends a request and resolves with the whole result. Rejects with a GlimpseError, never with anything else. */
  generate<Schema extends OutputSchema>(input: StructuredInput<Schema>): Promise<StructuredResult<InferOutput<Schema>>>;
  generate(input: GenerateInput): Promise<GenerateResult>;
  /** For code that is handed an input, with a schema or without. */
  generate(input: AnyInput): Promise<GenerateResult>;
  generate(input: AnyInput): Promise<GenerateResult> {
    return this.#start(input).result;
  }

  /** Sends a request at once and returns a handle for its events, its result and its cancelling. Never throws. */
  stream<Schema extends OutputSchema>(
    input: StructuredInput<Schema>,
  ): StructuredStream<InferOutput<Schema>, InferInput<Schema>>;
  stream(input: GenerateInput): GenerationStream;
  /** For code that is handed an input, with a schema or without. */
  stream(input: AnyInput): GenerationStream | StructuredStream<unknown>;
  stream(input: AnyInput): GenerationStream | StructuredStream<unknown> {
    return this.#start(input);
  }

  #start(input: AnyInput, ...observers: RequestObserver[]): GenerationStream | StructuredStream<unknown> {
    const model = this.workers().find((worker) => worker.model !== undefined)?.model;
    const context = { ...this.#callContext(), model, observer: allOf([...this.#observers, ...observers]) };
    // What is no schema at all is refused by the stream.
    return input?.output === undefined ? new GenerationStream(input, context) : new StructuredStream(input, context);
  }

  /**
   * Answers every item, many at once and over all workers, in bounded memory: `toInput` makes a request of an item, which
   * may come from an array, a generator or an async iterable. An item whose request has a schema as `output` has a typed
   * `result.output`. Each item has its own result or error; the loop throws only for what ends all of it. Leaving the loop
   * cancels what is under way. `options.journal` lets a run go on after an interruption.
   * @throws GlimpseError INVALID_REQUEST for wrong arguments.
   */
  batch<Item, Input extends AnyInput>(
    items: Iterable<Item> | AsyncIterable<Item>,
    toInput: ToInput<Item, Input>,
    options?: BatchOptions<Item>,
  ): Batch<Item, ResultOf<Input>>;
  batch<Item>(
    items: Iterable<Item> | AsyncIterable<Item>,
    toInput: ToInput<Item, AnyInput>,
    options?: BatchOptions<Item>,
  ): Batch<Item> {
    return makeBatch(this, items, toInput, options);
  }

  /**
   * A conversation: it keeps its history, and each turn reuses what the engine has computed for those before it.
   * @throws GlimpseError INVALID_REQUEST for options or messages that are none.
   */
  chat(options: ChatOptions = {}): Chat {
    return new Chat((input, observer) => this.#start(input, observer), options);
  }

  /**
   * Reads the text of a picture, of several, or of a PDF that `pdf()` has named: each page in a request of its own, many at
   * once. `format: "markdown"` keeps headings, lists and tables. Rejects with the error of the first page that fails.
   */
  ocr(pages: OcrSource, options: OcrOptions = {}): Promise<OcrResult> {
    return readPages({ client: this, allowHosts: this.#allowHosts }, pages, options);
  }

  /** One sentence about a picture or a video, as `text`. */
  async caption(media: ImageSource | VideoRef, options: TaskOptions = {}): Promise<GenerateResult> {
    return this.generate(tasks.caption(media, options));
  }

  /** All that there is to say about a picture or a video, as `text`. */
  async describe(media: ImageSource | VideoRef, options: TaskOptions = {}): Promise<GenerateResult> {
    return this.generate(tasks.describe(media, options));
  }

  /** Points at `what` in a picture, as `boxes`; a box that the model gives no label is labelled with `what`. */
  async locate(picture: ImageSource, what: string, options: TaskOptions = {}): Promise<GenerateResult> {
    const result = await this.generate(tasks.locate(picture, what, options));
    return { ...result, boxes: result.boxes.map((box) => ({ ...box, label: box.label ?? what })) };
  }

  #callContext(): CallContext {
    const { promise: sent, resolve: onSent } = new Deferred<void>();
    this.#reading.add(sent);
    void sent.then(() => this.#reading.delete(sent));
    const transport = this.#draining ? draining : this.#transport;
    return { transport, allowHosts: this.#allowHosts, stack: new CallStack(), onSent };
  }

  /**
   * Tells the tokens of a prompt before they are spent, of every kind of medium, and the pages of a PDF and the frames of
   * a video besides. Only headers are read, and nothing is generated; a prompt that is too long is counted too. Options of
   * generation are checked and have no effect; `signal`, `timeoutMs` and `queueTimeoutMs` hold.
   */
  count(input: AnyInput): Promise<TokenCount> {
    return countTokens(this.#callContext(), input);
  }

  /** The workers as they are now; none for a client of `connect()` whose connection has ended. */
  workers(): WorkerInfo[] {
    return this.#transport.workers();
  }

  /**
   * Calls `listener` with everything that happens to the workers from now on; the function that is returned ends that.
   * @throws GlimpseError INVALID_REQUEST when `listener` is no function.
   */
  onEvent(listener: (event: WorkerEvent) => void): () => void {
    if (typeof (listener as unknown) !== "function") throw invalid("onEvent()", "a function", listener);
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
