import { setTimeout as delay } from "node:timers/promises";
import { isDeepStrictEqual } from "node:util";
import type { CrashReport, LossCause, WorkerInfo } from "../../orchestrator/events.ts";
import type { Fault } from "./faulty.ts";
import type { Innocents } from "./innocents.ts";
import { processState } from "./leftovers.ts";
import { type Pool, pidOf } from "./pool.ts";

export const faults = [
  "SIGKILL",
  "SIGSTOP for ever",
  "SIGSTOP then SIGCONT",
  "SIGSEGV",
  "hang",
  "hang with the GIL",
  "out of memory",
  "babble",
  "exit",
] as const;
export type FaultName = (typeof faults)[number];

export const states = [
  "starting",
  "loading",
  "idle",
  "before the first token",
  "streaming",
  "draining",
  "stopping",
] as const;
export type StateName = (typeof states)[number];

export interface Cell {
  fault: FaultName;
  state: StateName;
}

const playedAs: Record<FaultName, Fault> = {
  SIGKILL: "SIGKILL",
  "SIGSTOP for ever": "SIGSTOP",
  "SIGSTOP then SIGCONT": "SIGSTOP",
  SIGSEGV: "SIGSEGV",
  hang: "hang",
  "hang with the GIL": "hang with the GIL",
  "out of memory": "out of memory",
  babble: "babble",
  exit: "exit",
};

/** What the crash report must call it. */
const causes: Record<Exclude<FaultName, "SIGSTOP then SIGCONT">, LossCause> = {
  SIGKILL: "exited",
  "SIGSTOP for ever": "silent",
  SIGSEGV: "exited",
  hang: "hung",
  "hang with the GIL": "silent",
  "out of memory": "exited",
  babble: "babbled",
  exit: "exited",
};

const exits: Partial<Record<FaultName, CrashReport["exit"]>> = {
  SIGKILL: { kind: "signalled", signal: "SIGKILL" },
  SIGSEGV: { kind: "signalled", signal: "SIGSEGV" },
  exit: { kind: "exited", code: 3 },
};

/** 20 ms a token. */
export const SCRIPT = "slow 100";

/** A worker of the pool in a state in which it is to break. */
interface Patient {
  worker: string;
  pid: number;
}

/**
 * Brings a ready worker into the state. Draining, stopping and loading come with a rolling restart, which has to be under
 * way.
 */
export async function bringTo(
  pool: Pool,
  innocents: Innocents,
  state: StateName,
  victim: WorkerInfo,
): Promise<Patient> {
  const [worker, pid] = [victim.id, pidOf(victim)];
  switch (state) {
    case "starting": {
      const held = pool.faulty.heldNext("starting");
      process.kill(pid, "SIGKILL");
      return { worker, pid: await held };
    }
    case "idle":
      return { worker, pid };
    case "before the first token": {
      const held = pool.faulty.held(pid, "token-0");
      innocents.fill(SCRIPT);
      return { worker, pid: await held };
    }
    case "streaming":
      await Promise.all(innocents.fill(SCRIPT).map((request) => request.tokens(3)));
      return { worker, pid };
    case "draining":
      await pool.until(() => pool.worker(worker).state === "draining");
      return { worker, pid };
    case "loading":
      await pool.until(() => pool.worker(worker).state !== "ready");
      return { worker, pid: await pool.faulty.heldNext("loading") };
    case "stopping":
      return { worker, pid: await pool.faulty.held(pid, "shutdown") };
    default:
      return state satisfies never;
  }
}

/** Plays the fault and resolves when the pool has dealt with it, with what it did wrong. */
export async function breakIt(pool: Pool, { fault, state }: Cell, { worker, pid }: Patient): Promise<string[]> {
  pool.faulty.play(pid, playedAs[fault]);
  const found = fault === "SIGSTOP then SIGCONT" ? await comesBack(pool, state, worker, pid) : [];
  // Its end was asked for: it is no loss, whatever it ends of.
  if (state !== "stopping" && fault !== "SIGSTOP then SIGCONT") {
    const report = await pool.lossOf(pid);
    found.push(...misreported(report, fault, state));
  }
  return found.map((defect) => `${fault} while ${state}: ${defect}`);
}

/** Wakes a stopped worker while there is time; it must go on as if nothing had been. */
async function comesBack(pool: Pool, state: StateName, worker: string, pid: number): Promise<string[]> {
  for (let now = processState(pid); now !== "T"; now = processState(pid)) {
    if (now === undefined) return ["it was given up before it had stopped"];
    await delay(1);
  }
  const noticed = state === "idle" || state === "before the first token" || state === "streaming";
  if (noticed) await pool.until(() => pool.worker(worker).state !== "ready");
  process.kill(pid, "SIGCONT");
  if (noticed) await pool.until(() => pool.worker(worker).state !== "stuck");
  return pool.losses().some((report) => report.pid === pid) ? ["it was given up although it came back in time"] : [];
}

function misreported(
  report: CrashReport,
  fault: Exclude<FaultName, "SIGSTOP then SIGCONT">,
  state: StateName,
): string[] {
  const found: string[] = [];
  const cause = state === "starting" && fault === "hang" ? "silent" : causes[fault];
  if (report.cause !== cause) found.push(`expected the cause ${cause}, got ${report.cause}: ${report.message}`);
  const exit = exits[fault];
  if (exit !== undefined && !isDeepStrictEqual(report.exit, exit)) {
    found.push(`expected ${JSON.stringify(exit)}, got ${JSON.stringify(report.exit)}`);
  }
  const onBoard = state === "before the first token" || state === "streaming" || state === "draining";
  if (onBoard && report.running.length === 0) found.push("nothing was on board");
  if (cause === "hung" && report.stacks === undefined) found.push("its stacks are missing");
  return found;
}
