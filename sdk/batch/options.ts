import { GlimpseError } from "../../protocol/errors.ts";
import { invalid, isRecord, refuseUnknownKeys } from "../invalid.ts";
import type { BatchProgress } from "./progress.ts";

export interface BatchOptions<Item> {
  /**
   * How many requests are under way at once. Default: as many as the workers take at once. Of those that have ended and
   * were not read yet there are at most as many again; then no further item is taken.
   */
  concurrency?: number | undefined;
  /** `input`: answers come in the order of the items; `completed`: as they are there. Default: input. */
  order?: "input" | "completed" | undefined;
  /**
   * A file that every answer is written to, as a line of JSON, before it is given. What it holds already is given again
   * without asking the model, so that a run which was interrupted goes on; failed items are tried again. Of an answer with
   * a schema it holds the text: `toInput` is asked for the schema, which reads it once more, and the model is asked again
   * if that refuses it.
   */
  journal?: string | undefined;
  /**
   * What the journal knows an item by: all that its answer depends on. Default: the item itself, which then has to be a
   * string or a URL.
   */
  key?: ((item: Item, index: number) => string) | undefined;
  /** How many items there are. Default: the `length` or `size` of `items`, if it has any. */
  total?: number | undefined;
  /** Called when an item has its ending. What it throws ends the batch. */
  onProgress?: ((progress: BatchProgress) => void) | undefined;
  /** Ends the batch: the loop throws ABORTED, and nothing runs on. */
  signal?: AbortSignal | undefined;
}

const names = ["concurrency", "order", "journal", "key", "total", "onProgress", "signal"];

/** @throws GlimpseError INVALID_REQUEST, which names the option. */
export function checkBatchOptions(options: unknown): void {
  if (!isRecord(options)) throw invalid("batch()", "an object of options", options);
  refuseUnknownKeys(options, names, "batch()");
  const { concurrency, order, journal, key, total, onProgress, signal } = options;
  const check = (name: string, value: unknown, good: boolean, expected: string): void => {
    if (value !== undefined && !good) throw invalid(`batch(): ${name}`, expected, value);
  };
  check("concurrency", concurrency, isCount(concurrency) && concurrency >= 1, "a whole number of at least 1");
  check("order", order, order === "input" || order === "completed", '"input" or "completed"');
  check("journal", journal, typeof journal === "string" && journal !== "", "the path of a file");
  check("key", key, typeof key === "function", "a function");
  check("total", total, isCount(total), "a whole number of at least 0");
  check("onProgress", onProgress, typeof onProgress === "function", "a function");
  check("signal", signal, signal instanceof AbortSignal, "an AbortSignal");
}

/** What the journal knows an item by. @throws GlimpseError INVALID_REQUEST when `key` throws, or gives no string. */
export function keyOf<Item>(options: BatchOptions<Item>, item: Item, index: number): string {
  const key = givenKey(options, item, index) ?? (item instanceof URL ? item.href : item);
  if (typeof key === "string") return key;
  const hint = "With a journal, pass key: (item) => a string that names it.";
  throw invalid(`batch(): key of item ${index}`, "a string", key, hint);
}

function givenKey<Item>({ key }: BatchOptions<Item>, item: Item, index: number): unknown {
  try {
    return key?.(item, index);
  } catch (cause) {
    throw failed("key", index, cause);
  }
}

/** A function of the caller's has thrown. */
export function failed(name: "key" | "toInput", index: number, cause: unknown): GlimpseError {
  return new GlimpseError("INVALID_REQUEST", `batch(): ${name} failed for item ${index}: ${cause}`, { cause });
}

function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}
