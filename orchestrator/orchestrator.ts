import { isMainThread } from "node:worker_threads";
import { GlimpseError } from "../protocol/errors.ts";
import { availableCores } from "./devices/cores.ts";
import { discoverAccelerators } from "./devices/discover.ts";
import { type WaitForMemoryOptions, waitForMemory } from "./devices/memory.ts";
import { type Placement, type PlacementRequest, place } from "./devices/place.ts";
import type { WorkerEvent } from "./events.ts";
import type { OnWorkerLoss } from "./failover.ts";
import { Pool } from "./pool.ts";
import type { SlotOptions } from "./slot.ts";
import { completeLimits, type Limits } from "./supervision/limits.ts";
import type { Transport } from "./transport.ts";

export interface OrchestratorOptions {
  /** The interpreter that runs the workers. */
  python: string;
  /** `device` as `launch()` takes it; where each worker goes follows from it, and from `workers`. */
  settings: SlotOptions["settings"] & { device: string };
  /** Default: auto. */
  workers?: PlacementRequest["workers"] | undefined;
  /** Default: 1. */
  gpusPerWorker?: number | undefined;
  /** Default: resume. */
  onWorkerLoss?: OnWorkerLoss | undefined;
  /** How many requests may wait. Default: 10,000. */
  queueLimit?: number | undefined;
  limits?: Partial<Limits> | undefined;
  onEvent?: ((event: WorkerEvent) => void) | undefined;
  /** Ends a start that takes too long; a running orchestrator is ended with `close()`. */
  signal?: AbortSignal | undefined;
}

const QUEUE_LIMIT = 10_000;

/** Starts the workers and resolves when all take requests. Rejects with the reason of the first that does not. */
export async function startOrchestrator(options: OrchestratorOptions): Promise<Transport> {
  refuseUnsupportedPlatform();
  const { signal, onEvent } = options;
  if (signal?.aborted) throw aborted(signal);
  const pool = await orAborted(makePool(options), signal);
  if (onEvent !== undefined) pool.subscribe(onEvent);
  try {
    await orAborted(pool.start(), signal);
    return pool;
  } catch (error) {
    await pool.close();
    throw error;
  }
}

async function makePool(options: OrchestratorOptions): Promise<Pool> {
  const limits = completeLimits(options.limits);
  const { python, settings, workers = "auto", gpusPerWorker = 1 } = options;
  const { device, engine, ...rest } = settings;
  const accelerators = device === "cpu" ? [] : await discoverAccelerators();
  const placements = place({ workers, gpusPerWorker, device }, accelerators, await availableCores());
  const spread = engine.kind === "reference" && gpusPerWorker > 1;
  const own = { ...rest, engine: spread ? { ...engine, deviceMap: "auto" as const } : engine };
  const pids = (): number[] => pool.workers().flatMap(({ pid }) => pid ?? []);
  const pool = new Pool({
    slots: placements.map((placement, index) => ({
      id: `worker-${index}`,
      python,
      placement,
      settings: own,
      memoryBack: (signal) => memoryBack(placement, { withinMs: limits.memoryMs, signal, ours: pids() }),
    })),
    limits,
    onWorkerLoss: options.onWorkerLoss ?? "resume",
    canResume: engine.kind !== "reference",
    queueLimit: options.queueLimit ?? QUEUE_LIMIT,
  });
  return pool;
}

async function memoryBack(placement: Placement, options: WaitForMemoryOptions): Promise<{ heldBy: readonly number[] }> {
  const used = placement.accelerators.map(({ usedBytes }) => usedBytes);
  const known = used.filter((bytes) => bytes !== undefined);
  const before = known.length === used.length ? known.reduce((sum, bytes) => sum + bytes, 0) : undefined;
  const memory = await waitForMemory(placement, before, options);
  return { heldBy: memory.kind === "held" ? memory.processes : [] };
}

/** Settles as `work` does, unless `signal` fires first; `work` itself goes on. */
async function orAborted<T>(work: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  const settled = new AbortController();
  try {
    return await Promise.race([rejectOnAbort(signal, settled.signal), work]);
  } finally {
    settled.abort();
  }
}

/** Lets go of `signal` when `until` fires. */
function rejectOnAbort(signal: AbortSignal | undefined, until: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    if (signal?.aborted) reject(aborted(signal));
    signal?.addEventListener("abort", () => reject(aborted(signal)), { signal: until });
  });
}

function aborted(signal: AbortSignal): GlimpseError {
  return new GlimpseError("ABORTED", "launch() was aborted before the workers were ready", { cause: signal.reason });
}

function refuseUnsupportedPlatform(): void {
  if (process.platform === "win32") {
    throw new GlimpseError("PLATFORM_UNSUPPORTED", "Glimpse starts workers on Linux and macOS, not on Windows", {
      hint: "Run it inside WSL 2.",
    });
  }
  if (!isMainThread) {
    throw new GlimpseError("PLATFORM_UNSUPPORTED", "launch() was called in a worker_thread, expected the main thread", {
      hint: "Linux ends a worker when the thread that started it ends: call launch() in the main thread.",
    });
  }
}
