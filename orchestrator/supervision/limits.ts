import { GlimpseError } from "../../protocol/errors.ts";

/** How long a worker may take for what, in milliseconds, and how often it may fail. */
export interface Limits {
  /** Between two heartbeats of a worker. */
  heartbeatMs: number;
  /** From the start of the process to its hello: what a Python needs to begin. */
  helloMs: number;
  /** A stage of loading without progress. A download has deadlines of its own, much shorter ones. */
  loadingMs: number;
  /** Without a heartbeat while loading, where imports and weights hold the interpreter's lock for seconds. */
  loadingSilenceMs: number;
  /** Without a heartbeat once ready. */
  silenceMs: number;
  /** One step of the engine. Default: 60 s on a GPU; on a CPU, where a long prompt takes minutes, 30 min. */
  stepMs: number | undefined;
  /** How long a hung worker has for writing down its stacks, before it is killed. */
  dumpMs: number;
  /** How long a worker that is to leave may take before SIGTERM, and then before SIGKILL. */
  leaveMs: number;
  /** After a kill: a process that the kernel cannot end by then keeps its device, but no longer its requests. */
  killMs: number;
  /** The pause before a new process after the first loss; doubled by each further one, up to `backoffMaxMs`. */
  backoffMs: number;
  backoffMaxMs: number;
  /** A worker that was ready for so long has recovered: its next loss counts as the first. */
  stableMs: number;
  /**
   * So many processes in a row that end before they are ready, and no more is started. While none has ever been ready,
   * as during `launch()`, the first is enough.
   */
  startFailures: number;
  /** How long a new process waits for the memory of the one before; then it is tried all the same. */
  memoryMs: number;
}

export const defaultLimits: Limits = {
  heartbeatMs: 2_000,
  helloMs: 60_000,
  loadingMs: 600_000,
  loadingSilenceMs: 120_000,
  silenceMs: 20_000,
  stepMs: undefined,
  dumpMs: 1_000,
  leaveMs: 2_000,
  killMs: 5_000,
  backoffMs: 500,
  backoffMaxMs: 30_000,
  stableMs: 60_000,
  startFailures: 5,
  memoryMs: 30_000,
};

/** A worker that has missed two heartbeats may only be slow. */
export const HEARTBEATS_OF_SILENCE = 3;

/**
 * The defaults for what is not `given`.
 * @throws GlimpseError INVALID_REQUEST for limits that a healthy worker would break.
 */
export function completeLimits(given: Partial<Limits> = {}): Limits {
  const said = Object.entries(given).filter(([, limit]) => limit !== undefined);
  const limits: Limits = { ...defaultLimits, ...Object.fromEntries(said) };
  const { heartbeatMs, silenceMs, loadingSilenceMs } = limits;
  const longest = Math.min(silenceMs, loadingSilenceMs) / HEARTBEATS_OF_SILENCE;
  if (Number.isInteger(heartbeatMs) && heartbeatMs <= longest) return limits;
  const expected = `a whole number of at most a third of silenceMs (${silenceMs}) and loadingSilenceMs (${loadingSilenceMs})`;
  throw new GlimpseError("INVALID_REQUEST", `limits.heartbeatMs: expected ${expected}, got ${heartbeatMs}`, {
    hint: "A worker that is silent for longer is ended: let its heartbeats come more often, or raise those limits.",
  });
}

export function stepLimit(limits: Limits, deviceKind: "cpu" | "cuda" | "rocm"): number {
  return limits.stepMs ?? (deviceKind === "cpu" ? 1_800_000 : 60_000);
}
