import { isMainThread } from "node:worker_threads";
import { GlimpseError } from "../protocol/errors.ts";
import { availableCores } from "./devices/cores.ts";
import { discoverAccelerators } from "./devices/discover.ts";
import { type WaitForMemoryOptions, waitForMemory } from "./devices/memory.ts";
import { type Placement, type PlacementRequest, place } from "./devices/place.ts";
import type { WorkerEvent } from "./events.ts";
import { type OnWorkerLoss, Pool } from "./pool.ts";
import type { SlotOptions } from "./slot.ts";
import { defaultLimits, type Limits } from "./supervision/limits.ts";
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
  if (options.signal?.aborted) throw aborted(options.signal);
  const pool = await makePool(options);
  if (options.onEvent !== undefined) pool.subscribe(options.onEvent);
  const settled = new AbortController();
  try {
    await Promise.race([rejectOnAbort(options.signal, settled.signal), pool.start()]);
    return pool;
  } catch (error) {
    await pool.close();
    throw error;
  } finally {
    settled.abort();
  }
}

async function makePool(options: OrchestratorOptions): Promise<Pool> {
  const limits = { ...defaultLimits, ...options.limits };
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
  try {
    const memory = await waitForMemory(placement, before, options);
    return { heldBy: memory.kind === "held" ? memory.processes : [] };
  } catch (error) {
    if (options.signal.aborted) return { heldBy: [] };
    throw error;
  }
}

/** Rejects when `signal` fires, and lets go of it when `until` does. */
function rejectOnAbort(signal: AbortSignal | undefined, until: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
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
