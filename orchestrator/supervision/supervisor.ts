import type { LossCause, WorkerStateName } from "../events.ts";
import { excuse } from "./excuse.ts";
import type { Limits } from "./limits.ts";

/**
 * What becomes of one worker. `supervise` is pure: state, event and time in, state and actions out. All times are
 * milliseconds of one monotonic clock.
 */
export interface Supervised {
  readonly life: Life;
  /** Counts the processes. */
  readonly generation: number;
  /** Processes in a row that ended before they were ready. */
  readonly failures: number;
  /** One of its processes was ready once: what loaded before may well load again. */
  readonly proven: boolean;
  /** Losses in a row, each before the worker was ready for `stableMs`. */
  readonly setbacks: number;
}

export type Life =
  /** No process. The next one starts at `until`. */
  | { name: "pausing"; until: number }
  /** No process. The next one starts when the memory of the last one is back. */
  | { name: "clearing" }
  /** The process exists. */
  | { name: "starting"; since: number }
  /** It has said hello. `progressAt` is when its stage began or went on. */
  | { name: "loading"; heardAt: number; progressAt: number }
  | { name: "serving"; since: number; heardAt: number; stepMs: number; stuck: boolean; draining: boolean }
  /** Its end is decided, and not because somebody asked for it. */
  | { name: "ending"; cause: LossCause; step: "dump" | "leave" | "kill"; until: number; wasReady: boolean; was: Life }
  /** It has been killed and is still there: the kernel waits for its device. Its requests have been taken back. */
  | { name: "undead"; cause: LossCause; wasReady: boolean }
  /** Asked to leave, to be replaced by a new process. */
  | { name: "replacing" }
  /** Asked to leave for good. */
  | { name: "stopping" }
  | { name: "stopped" }
  /** No further process is started. */
  | { name: "failed" };

export type SupervisorEvent =
  | { type: "start" }
  | { type: "hello" }
  | { type: "progress" }
  | { type: "ready"; stepMs: number }
  /** `stepAgeMs` is undefined while no step is under way. */
  | { type: "heartbeat"; stepAgeMs: number | undefined }
  /** It says that it leaves. */
  | { type: "gave up" }
  | { type: "babbled" }
  | { type: "exited" }
  | { type: "memory settled" }
  /** `lateMs`: how much later than asked for it comes; so long nobody here could hear anybody. */
  | { type: "tick"; lateMs: number }
  /** Finish what is on board, take nothing more. */
  | { type: "drain" }
  /** Nothing is on board any more. */
  | { type: "drained" }
  | { type: "close" };

export type SupervisorAction =
  | { type: "spawn"; generation: number }
  /** Ask for the stacks of all threads. */
  | { type: "dump" }
  /** It leaves by itself; help it along if it takes long. */
  | { type: "let leave" }
  | { type: "shut down" }
  | { type: "kill" }
  /** Take back what is on board. Comes once for each process that is lost. */
  | { type: "lose"; cause: LossCause; was: WorkerStateName }
  | { type: "await memory" }
  | { type: "announce restart"; inMs: number; failures: number }
  /** No further process is started. */
  | { type: "give up" };

export interface Policy {
  readonly limits: Limits;
  /** From 0 to 1, for the jitter. */
  readonly random: () => number;
}

export type Outcome = readonly [Supervised, readonly SupervisorAction[]];

export const unstarted: Supervised = {
  life: { name: "pausing", until: Number.POSITIVE_INFINITY },
  generation: 0,
  failures: 0,
  proven: false,
  setbacks: 0,
};

/** A worker that has been silent, or in one step, for this part of its limit gets no new requests. */
const STUCK_AT = 0.5;

export function shownState(life: Life): WorkerStateName {
  switch (life.name) {
    case "pausing":
    case "clearing":
      return "waiting";
    case "serving":
      if (life.stuck) return "stuck";
      return life.draining ? "draining" : "ready";
    case "ending":
      return life.step === "dump" ? "stuck" : "stopping";
    case "undead":
    case "replacing":
      return "stopping";
    case "starting":
    case "loading":
    case "stopping":
    case "stopped":
    case "failed":
      return life.name;
    default:
      return life satisfies never;
  }
}

/** When the next `tick` is due; undefined when only other events can change anything. */
export function nextTick(life: Life, limits: Limits): number | undefined {
  switch (life.name) {
    case "pausing":
      return Number.isFinite(life.until) ? life.until : undefined;
    case "starting":
      return life.since + limits.helloMs;
    case "loading":
      return Math.min(life.heardAt + limits.loadingSilenceMs, life.progressAt + limits.loadingMs);
    case "serving":
      return life.heardAt + (life.stuck ? 1 : STUCK_AT) * limits.silenceMs;
    case "ending":
      return life.until;
    case "clearing":
    case "undead":
    case "replacing":
    case "stopping":
    case "stopped":
    case "failed":
      return undefined;
    default:
      return life satisfies never;
  }
}

export function supervise(state: Supervised, event: SupervisorEvent, now: number, policy: Policy): Outcome {
  const { life } = state;
  switch (event.type) {
    case "start":
      return start(state, now);
    case "hello":
      return life.name === "starting"
        ? become(state, { name: "loading", heardAt: now, progressAt: now })
        : unchanged(state);
    case "progress":
      return life.name === "loading" ? become(state, { ...life, progressAt: now, heardAt: now }) : unchanged(state);
    case "ready":
      return ready(state, event.stepMs, now);
    case "heartbeat":
      return heartbeat(state, event.stepAgeMs, now, policy);
    case "gave up":
      return isRunning(life) ? end(state, "gave up", "leave", now, policy) : unchanged(state);
    case "babbled":
      return isRunning(life) ? end(state, "babbled", "kill", now, policy) : unchanged(state);
    case "exited":
      return exited(state, policy);
    case "memory settled":
      return life.name === "clearing" ? pause(state, now, policy) : unchanged(state);
    case "tick":
      return tick(state, event.lateMs, now, policy);
    case "drain":
      return life.name === "serving" ? become(state, { ...life, draining: true }) : unchanged(state);
    case "drained":
      return life.name === "serving" && life.draining
        ? [{ ...state, life: { name: "replacing" } }, [{ type: "shut down" }]]
        : unchanged(state);
    case "close":
      return close(state);
    default:
      return event satisfies never;
  }
}

/** A process that is there and whose end is not decided. */
type Running = Extract<Life, { name: "starting" | "loading" | "serving" }>;

function isRunning(life: Life): life is Running {
  return life.name === "starting" || life.name === "loading" || life.name === "serving";
}

function unchanged(state: Supervised): Outcome {
  return [state, []];
}

function become(state: Supervised, life: Life): Outcome {
  return [{ ...state, life }, []];
}

/** One that was given up gets as many tries as it had. */
function start(state: Supervised, now: number): Outcome {
  if (state.life.name === "failed") return spawn({ ...state, failures: 0 }, now);
  return state.life.name === "pausing" ? spawn(state, now) : unchanged(state);
}

function spawn(state: Supervised, now: number): Outcome {
  const generation = state.generation + 1;
  return [{ ...state, generation, life: { name: "starting", since: now } }, [{ type: "spawn", generation }]];
}

function ready(state: Supervised, stepMs: number, now: number): Outcome {
  if (state.life.name !== "loading") return unchanged(state);
  const life: Life = { name: "serving", since: now, heardAt: now, stepMs, stuck: false, draining: false };
  return [{ ...state, failures: 0, proven: true, life }, []];
}

function heartbeat(state: Supervised, stepAgeMs: number | undefined, now: number, policy: Policy): Outcome {
  const { life } = state;
  if (life.name === "loading") return become(state, { ...life, heardAt: now });
  if (life.name !== "serving") return unchanged(state);
  const age = stepAgeMs ?? 0;
  if (age > life.stepMs) return end(state, "hung", "dump", now, policy);
  const stuck = age > STUCK_AT * life.stepMs;
  const setbacks = now - life.since > policy.limits.stableMs ? 0 : state.setbacks;
  return [{ ...state, setbacks, life: { ...life, heardAt: now, stuck } }, []];
}

function tick(state: Supervised, lateMs: number, now: number, policy: Policy): Outcome {
  const life = excuse(state.life, lateMs, now, policy.limits);
  const due = nextTick(life, policy.limits);
  if (due === undefined || now < due) return become(state, life);
  switch (life.name) {
    case "pausing":
      return spawn(state, now);
    case "starting":
      return end({ ...state, life }, "silent", "kill", now, policy);
    case "loading": {
      const silent = now >= life.heardAt + policy.limits.loadingSilenceMs;
      return end({ ...state, life }, silent ? "silent" : "hung", "dump", now, policy);
    }
    case "serving":
      if (!life.stuck) return become(state, { ...life, stuck: true });
      return now >= life.heardAt + policy.limits.silenceMs
        ? end({ ...state, life }, "silent", "dump", now, policy)
        : become(state, life);
    case "ending":
      return hurry({ ...state, life }, life, now, policy);
    default:
      return unchanged(state);
  }
}

function end(
  state: Supervised,
  cause: LossCause,
  step: "dump" | "leave" | "kill",
  now: number,
  { limits }: Policy,
): Outcome {
  const { life } = state;
  const wait = step === "dump" ? limits.dumpMs : limits.killMs;
  const wasReady = life.name === "serving";
  const action: SupervisorAction = step === "leave" ? { type: "let leave" } : { type: step };
  return [{ ...state, life: { name: "ending", cause, step, until: now + wait, wasReady, was: life } }, [action]];
}

/** The present step of an ending has taken its time. */
function hurry(state: Supervised, life: Life & { name: "ending" }, now: number, { limits }: Policy): Outcome {
  if (life.step !== "kill") {
    return [{ ...state, life: { ...life, step: "kill", until: now + limits.killMs } }, [{ type: "kill" }]];
  }
  const { cause, wasReady, was } = life;
  return [{ ...state, life: { name: "undead", cause, wasReady } }, [{ type: "lose", cause, was: shownState(was) }]];
}

function exited(state: Supervised, policy: Policy): Outcome {
  const { life } = state;
  switch (life.name) {
    case "starting":
    case "loading":
      return afterLoss(state, false, [{ type: "lose", cause: "exited", was: shownState(life) }], policy);
    case "serving":
      return afterLoss(state, true, [{ type: "lose", cause: "exited", was: shownState(life) }], policy);
    case "ending": {
      const { cause, wasReady, was } = life;
      return afterLoss(state, wasReady, [{ type: "lose", cause, was: shownState(was) }], policy);
    }
    case "undead":
      return afterLoss(state, life.wasReady, [], policy);
    case "replacing":
      return [{ ...state, life: { name: "clearing" } }, [{ type: "await memory" }]];
    case "stopping":
      return become(state, { name: "stopped" });
    case "pausing":
    case "clearing":
    case "stopped":
    case "failed":
      return unchanged(state);
    default:
      return life satisfies never;
  }
}

function afterLoss(
  state: Supervised,
  wasReady: boolean,
  actions: readonly SupervisorAction[],
  { limits }: Policy,
): Outcome {
  const failures = wasReady ? 0 : state.failures + 1;
  const lost = { ...state, failures, setbacks: state.setbacks + 1 };
  // Who launches is there to hear of the first failure; later ones are tried again.
  const most = state.proven ? limits.startFailures : 1;
  if (failures >= most) return [{ ...lost, life: { name: "failed" } }, [...actions, { type: "give up" }]];
  return [{ ...lost, life: { name: "clearing" } }, [...actions, { type: "await memory" }]];
}

/** Exponential, with a jitter of a half, so that workers that died together do not load together. */
function pause(state: Supervised, now: number, { limits, random }: Policy): Outcome {
  if (state.setbacks === 0) return spawn(state, now);
  const longest = Math.min(limits.backoffMaxMs, limits.backoffMs * 2 ** (state.setbacks - 1));
  const inMs = longest * (1 - random() / 2);
  const announced: SupervisorAction = { type: "announce restart", inMs, failures: state.failures };
  return [{ ...state, life: { name: "pausing", until: now + inMs } }, [announced]];
}

function close(state: Supervised): Outcome {
  switch (state.life.name) {
    case "starting":
    case "loading":
    case "serving":
      return [{ ...state, life: { name: "stopping" } }, [{ type: "shut down" }]];
    // It is on its way out already.
    case "ending":
    case "undead":
      return [{ ...state, life: { name: "stopping" } }, [{ type: "kill" }]];
    case "replacing":
      return become(state, { name: "stopping" });
    case "pausing":
    case "clearing":
      return become(state, { name: "stopped" });
    case "stopping":
    case "stopped":
    case "failed":
      return unchanged(state);
    default:
      return state.life satisfies never;
  }
}
