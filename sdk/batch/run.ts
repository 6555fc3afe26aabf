import { setMaxListeners } from "node:events";
import { setTimeout } from "node:timers/promises";
import { GlimpseError } from "../../protocol/errors.ts";
import { onAbort } from "../abort.ts";
import { structured } from "../output/answer.ts";
import type { AnyInput, GenerateInput } from "../request/input.ts";
import type { GenerateResult } from "../result.ts";
import type { Client, RunningRequest } from "../stream.ts";
import { Journal } from "./journal.ts";
import { type BatchOptions, failed, keyOf } from "./options.ts";
import { Outbox } from "./outbox.ts";
import { ProgressCount } from "./progress.ts";

/** Makes a request of an item: `GenerateInput`, or a `StructuredInput` whose answers have the schema's `output`. */
export type ToInput<Item, Input extends AnyInput = GenerateInput> = (
  item: Item,
  index: number,
) => Input | Promise<Input>;

/** What became of one item; `index` counts the items from 0. */
export type BatchItem<Item, Result extends GenerateResult = GenerateResult> =
  | { ok: true; index: number; item: Item; result: Result; fromJournal: boolean }
  | { ok: false; index: number; item: Item; error: GlimpseError };

export interface BatchTask<Item> {
  client: Pick<Client, "stream" | "workers">;
  items: Iterable<Item> | AsyncIterable<Item>;
  toInput: ToInput<Item, AnyInput>;
  options: BatchOptions<Item>;
}

type Next<Item> = IteratorResult<BatchItem<Item>, undefined>;

/** When the queue is full and does not say for how long. */
const QUEUE_FULL_MS = 100;

/** One loop over a batch. Begins when somebody reads, and takes the next item only while there is room for it. */
export class BatchRun<Item> implements AsyncIterator<BatchItem<Item>, undefined> {
  readonly #task: BatchTask<Item>;
  readonly #concurrency: number;
  readonly #count: ProgressCount;
  readonly #outbox: Outbox<BatchItem<Item>>;
  readonly #streams = new Set<RunningRequest>();
  readonly #stopping = new AbortController();
  #source: Iterator<Item> | AsyncIterator<Item> | undefined;
  #journal: Journal | undefined;
  #letGo = (): void => {};
  #taken = 0;
  #running = 0;
  #taking = false;
  /** There are no more items; if that was an error, it is thrown after the last answer. */
  #exhausted: { error?: unknown } | undefined;

  constructor(task: BatchTask<Item>) {
    this.#task = task;
    const { concurrency, total, order } = task.options;
    this.#concurrency = concurrency ?? slotsOf(task.client);
    this.#count = new ProgressCount(total ?? sizeOf(task.items), performance.now());
    this.#outbox = new Outbox(order ?? "input");
    // Every item that waits for room in the queue listens to it, and Node warns of the eleventh listener.
    setMaxListeners(0, this.#stopping.signal);
  }

  next(): Promise<Next<Item>> {
    const next = this.#outbox.next();
    if (this.#source === undefined && !this.#stopped) void this.#begin();
    void this.#take();
    return next;
  }

  async return(): Promise<Next<Item>> {
    await this.#stop({});
    return { done: true, value: undefined };
  }

  async #begin(): Promise<void> {
    const { items, options } = this.#task;
    const { journal, signal } = options;
    try {
      this.#source = Symbol.asyncIterator in items ? items[Symbol.asyncIterator]() : items[Symbol.iterator]();
    } catch (error) {
      return this.#stop({ error });
    }
    const abort = (): void => void this.#stop({ error: aborted(signal) });
    if (signal?.aborted) return abort();
    if (signal !== undefined) this.#letGo = onAbort(signal, abort);
    if (journal === undefined) return;
    this.#taking = true;
    try {
      this.#journal = await Journal.open(journal);
      if (this.#stopped) await this.#journal.close();
    } catch (error) {
      void this.#stop({ error });
    }
    this.#taking = false;
    void this.#take();
  }

  get #hasRoom(): boolean {
    return this.#running < this.#concurrency && this.#taken - this.#outbox.given < 2 * this.#concurrency;
  }

  get #stopped(): boolean {
    return this.#stopping.signal.aborted;
  }

  async #take(): Promise<void> {
    if (this.#taking || this.#source === undefined) return;
    this.#taking = true;
    while (this.#hasRoom && this.#exhausted === undefined && !this.#stopped) {
      try {
        const { done, value } = await this.#source.next();
        if (done) this.#exhausted = {};
        else if (!this.#stopped) void this.#run(value, this.#taken++);
      } catch (error) {
        this.#exhausted = { error };
      }
    }
    this.#taking = false;
    const over = this.#exhausted !== undefined && this.#running === 0 && this.#outbox.isEmpty;
    if (over) void this.#stop(this.#exhausted ?? {});
  }

  async #run(item: Item, index: number): Promise<void> {
    this.#running += 1;
    const ending = await this.#answer(item, index);
    this.#running -= 1;
    if (this.#stopped) return;
    this.#report(ending);
    this.#outbox.put(ending);
    void this.#take();
  }

  /** Never rejects: what concerns more than this item stops the batch. */
  async #answer(item: Item, index: number): Promise<BatchItem<Item>> {
    try {
      const key = this.#journal === undefined ? "" : keyOf(this.#task.options, item, index);
      const kept = await this.#kept(key, item, index);
      if (kept !== undefined) return { ok: true, index, item, result: kept, fromJournal: true };
      const result = await this.#generate(item, index);
      if (!this.#stopped) await this.#journal?.write(key, result).catch((error) => this.#stop({ error }));
      return { ok: true, index, item, result, fromJournal: false };
    } catch (cause) {
      const error = GlimpseError.is(cause) ? cause : failed("toInput", index, cause);
      if (endsClient(error) || hasNoWorkers(this.#task.client)) void this.#stop({ error });
      return { ok: false, index, item, error };
    }
  }

  /**
   * What the journal has. An answer with a schema is read by it once more; what it refuses by now is not there, and the
   * model is asked again.
   */
  async #kept(key: string, item: Item, index: number): Promise<GenerateResult | undefined> {
    if (!this.#journal?.has(key)) return undefined;
    const entry = await this.#journal.read(key);
    if (!entry.structured) return entry.result;
    const { output } = await this.#task.toInput(item, index);
    if (output === undefined) return entry.result;
    const result = await structured(entry.result, output);
    return GlimpseError.is(result) ? undefined : result;
  }

  async #generate(item: Item, index: number): Promise<GenerateResult> {
    for (;;) {
      const input = await this.#task.toInput(item, index);
      this.#stopping.signal.throwIfAborted();
      const stream = this.#task.client.stream(input);
      this.#streams.add(stream);
      try {
        return await stream.result;
      } catch (error) {
        // Others fill the queue. A batch is not in a hurry.
        if (!GlimpseError.is(error, "QUEUE_FULL")) throw error;
        await setTimeout(error.retryAfterMs ?? QUEUE_FULL_MS, undefined, { signal: this.#stopping.signal });
      } finally {
        this.#streams.delete(stream);
      }
    }
  }

  #report(ending: BatchItem<Item>): void {
    this.#count.ended({ ok: ending.ok, fromJournal: ending.ok && ending.fromJournal });
    try {
      this.#task.options.onProgress?.(this.#count.at(performance.now()));
    } catch (error) {
      void this.#stop({ error });
    }
  }

  /** Never rejects. Readers hear of it when the journal is closed; if that fails, of its error. */
  async #stop(why: { error?: unknown }): Promise<void> {
    if (this.#stopped) return;
    this.#stopping.abort();
    this.#letGo();
    for (const stream of this.#streams) stream.cancel();
    // Not awaited: a generator that waits for something itself would hold up who leaves the loop.
    if (this.#exhausted === undefined) void this.#closeSource();
    try {
      await this.#journal?.close();
      this.#outbox.close(why);
    } catch (error) {
      this.#outbox.close({ error, ...why });
    }
  }

  async #closeSource(): Promise<void> {
    try {
      await this.#source?.return?.();
    } catch {
      // Who would hear of it has left.
    }
  }
}

function slotsOf(client: Pick<Client, "workers">): number {
  const slots = client.workers().map((worker) => worker.slots ?? 1);
  return Math.max(
    1,
    slots.reduce((sum, count) => sum + count, 0),
  );
}

/** The client takes nothing any more: the next items would only fail, too. */
function endsClient({ code }: GlimpseError): boolean {
  return code === "DISPOSED" || code === "CONNECTION_LOST";
}

function hasNoWorkers(client: Pick<Client, "workers">): boolean {
  const workers = client.workers();
  return workers.length > 0 && workers.every(({ state }) => state === "failed");
}

function sizeOf(items: object): number | undefined {
  if ("length" in items && typeof items.length === "number") return items.length;
  return "size" in items && typeof items.size === "number" ? items.size : undefined;
}

function aborted(signal: AbortSignal | undefined): GlimpseError {
  return new GlimpseError("ABORTED", "the batch was aborted by its signal", { cause: signal?.reason });
}
