import { invalid } from "../invalid.ts";
import type { InferOutput, OutputSchema } from "../output/schema.ts";
import type { AnyInput } from "../request/input.ts";
import type { GenerateResult, StructuredResult } from "../result.ts";
import { type BatchOptions, checkBatchOptions } from "./options.ts";
import { type BatchItem, BatchRun, type BatchTask } from "./run.ts";

/** What a request is answered with: by its type, as `generate()` would. */
export type ResultOf<Input extends AnyInput> = Input extends { output: infer Schema extends OutputSchema }
  ? StructuredResult<InferOutput<Schema>>
  : GenerateResult;

/** Made by `batch()`. Nothing happens before it is iterated; each loop over it is a run of its own. */
export interface Batch<Item, Result extends GenerateResult = GenerateResult> {
  [Symbol.asyncIterator](): AsyncIterator<BatchItem<Item, Result>, undefined>;
}

/** @throws GlimpseError INVALID_REQUEST, which names the argument. */
export function makeBatch<Item>(
  client: BatchTask<Item>["client"],
  items: BatchTask<Item>["items"],
  toInput: BatchTask<Item>["toInput"],
  options: BatchOptions<Item> = {},
): Batch<Item> {
  const iterable =
    typeof items === "object" && items !== null && (Symbol.iterator in items || Symbol.asyncIterator in items);
  if (!iterable) throw invalid("batch(): items", "an array or another (async) iterable", items);
  if (typeof toInput !== "function") throw invalid("batch(): toInput", "a function from an item to a request", toInput);
  checkBatchOptions(options);
  const task = { client, items, toInput, options: { ...options } };
  return { [Symbol.asyncIterator]: () => new BatchRun(task) };
}
