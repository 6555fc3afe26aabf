import { invalid } from "../invalid.ts";
import { type BatchOptions, checkBatchOptions } from "./options.ts";
import { type BatchItem, BatchRun, type BatchTask, type ToInput } from "./run.ts";

/** Made by `batch()`. Nothing happens before it is iterated; each loop over it is a run of its own. */
export class Batch<Item> implements AsyncIterable<BatchItem<Item>> {
  readonly #task: BatchTask<Item>;

  constructor(task: BatchTask<Item>) {
    this.#task = task;
  }

  [Symbol.asyncIterator](): AsyncIterator<BatchItem<Item>, undefined> {
    return new BatchRun(this.#task);
  }
}

/** @throws GlimpseError INVALID_REQUEST, which names the argument. */
export function makeBatch<Item>(
  client: BatchTask<Item>["client"],
  items: Iterable<Item> | AsyncIterable<Item>,
  toInput: ToInput<Item>,
  options: BatchOptions<Item> = {},
): Batch<Item> {
  const iterable =
    typeof items === "object" && items !== null && (Symbol.iterator in items || Symbol.asyncIterator in items);
  if (!iterable) throw invalid("batch(): items", "an array or another (async) iterable", items);
  if (typeof toInput !== "function") throw invalid("batch(): toInput", "a function from an item to a request", toInput);
  checkBatchOptions(options);
  return new Batch({ client, items, toInput, options: { ...options } });
}
