import { setTimeout as delay } from "node:timers/promises";
import { type Accelerator, isSame, MIB } from "./accelerator.ts";
import { listAll, processesOn } from "./discover.ts";
import type { Placement } from "./place.ts";
import { type RunTool, runTool } from "./tool.ts";

export interface Clock {
  /** Milliseconds, from any point on. */
  now(): number;
  /** Resolves after that time; rejects when `signal` fires. */
  sleep(milliseconds: number, signal: AbortSignal): Promise<void>;
}

export const systemClock: Clock = {
  now: () => performance.now(),
  sleep: (milliseconds, signal) => delay(milliseconds, undefined, { signal }),
};

/** `held`: memory is still in use; by these processes, as far as the tools tell. */
export type MemoryState = { kind: "free" } | { kind: "held"; processes: number[] };

export interface MemoryOptions {
  /** Pids of workers that live, and of whatever else may hold memory there: it is not waited for. Default: none. */
  ours?: readonly number[] | undefined;
  run?: RunTool | undefined;
}

export interface WaitForMemoryOptions extends MemoryOptions {
  withinMs: number;
  signal: AbortSignal;
  clock?: Clock | undefined;
}

const POLL_MS = 500;
/** Contexts of other processes come and go; the memory of a model is more. */
const TOLERANCE_BYTES = 512 * MIB;
/** Where nobody looked before: what a GPU without a model has in use at most. */
const IDLE_FRACTION = 0.1;

/**
 * The bytes in use on the devices of `placement`, but by `ours`; undefined on a CPU and where no tool can say. Take it
 * before a worker starts, as `before` of `waitForMemory`.
 */
export async function usedMemory(placement: Placement, options: MemoryOptions = {}): Promise<number | undefined> {
  const used = (await readDevices(placement, options.run)).map(({ usedBytes }) => usedBytes);
  if (used.length === 0 || !used.every((bytes) => bytes !== undefined)) return undefined;
  const total = used.reduce((sum, bytes) => sum + bytes, 0);
  const { ours = [] } = options;
  if (ours.length === 0) return total;
  const processes = await processesOn(placement.accelerators, options.run);
  const own = processes.filter(({ pid }) => ours.includes(pid)).reduce((sum, { usedBytes = 0 }) => sum + usedBytes, 0);
  return total - own;
}

/**
 * After a worker ended: waits until the memory of its devices is free again. That is when no more than 512 MiB above
 * `before` are in use; without `before`, no more than a tenth of the memory. What no tool can tell is taken as free, and
 * so is a CPU: then it resolves at once. `held` comes after `withinMs`. Rejects when `signal` fires.
 */
export async function waitForMemory(
  placement: Placement,
  before: number | undefined,
  { withinMs, signal, clock = systemClock, ...options }: WaitForMemoryOptions,
): Promise<MemoryState> {
  if (placement.accelerators.length === 0) return { kind: "free" };
  const most = before === undefined ? idleMemory(placement) : before + TOLERANCE_BYTES;
  const end = clock.now() + withinMs;
  for (;;) {
    signal.throwIfAborted();
    const used = await usedMemory(placement, options);
    if (used === undefined || used <= most) return { kind: "free" };
    const left = end - clock.now();
    if (left <= 0) break;
    await clock.sleep(Math.min(POLL_MS, left), signal);
  }
  const processes = await processesOn(placement.accelerators, options.run);
  const foreign = processes.map(({ pid }) => pid).filter((pid) => !options.ours?.includes(pid));
  return { kind: "held", processes: foreign };
}

async function readDevices({ accelerators }: Placement, run: RunTool = runTool): Promise<Accelerator[]> {
  if (accelerators.length === 0) return [];
  const present = (await listAll(run)).accelerators;
  return present.filter((device) => accelerators.some((own) => isSame(own, device)));
}

function idleMemory({ accelerators }: Placement): number {
  const memory = accelerators.reduce((sum, { memoryBytes = 0 }) => sum + memoryBytes, 0);
  return memory * IDLE_FRACTION;
}
