import { setImmediate as turn } from "node:timers/promises";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";

setFlagsFromString("--expose-gc");
const collect = runInNewContext("gc") as () => void;

/** What is held after collections, in bytes: objects, and the buffers outside the heap. */
export async function heldBytes(): Promise<number> {
  // Buffers are given back some time after the collection that found them.
  for (let times = 0; times < 3; times += 1) {
    collect();
    await turn();
  }
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
}
