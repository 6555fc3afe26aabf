import { readFile } from "node:fs/promises";
import { availableParallelism } from "node:os";
import { join } from "node:path";

/**
 * How many cores this process may use, at least 1: those that the scheduler gives it, or what its control group may use
 * of them if that is less (a container's limit).
 */
export async function availableCores(root = "/", parallelism = availableParallelism()): Promise<number> {
  const limit = await groupLimit(root).catch(() => Number.POSITIVE_INFINITY);
  return Math.max(1, Math.min(parallelism, Math.floor(limit)));
}

/** Of version 2 of the control groups; the processor time, in cores, that this process's own group gets. */
async function groupLimit(root: string): Promise<number> {
  const group = /^0::(.*)$/m.exec(await readFile(join(root, "proc/self/cgroup"), "utf8"))?.[1] ?? "/";
  const [quota, period] = (await readFile(join(root, "sys/fs/cgroup", group, "cpu.max"), "utf8")).trim().split(" ");
  return quota === "max" ? Number.POSITIVE_INFINITY : Number(quota) / Number(period);
}
