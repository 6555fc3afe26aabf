import { setTimeout as delay } from "node:timers/promises";
import { GlimpseError } from "../../protocol/errors.ts";
import { isAlive } from "../is-alive.ts";
import { answers } from "../socket-directory.ts";
import { findRunning } from "./attach.ts";
import type { Place } from "./place.ts";
import { readState } from "./state.ts";

export interface DownOptions {
  place: Place;
  /** Does not wait for what is running; and kills an orchestrator that does not answer. */
  now: boolean;
  /** Ends the waiting. What was asked to end ends all the same. */
  signal: AbortSignal;
}

const POLL_MS = 50;
/** Between the end of its connections and that of the process. */
const EXIT_POLL_MS = 2;
/** A process that nobody reaps, as in a container without an init, never seems to be gone: its end is not waited for longer. */
const EXIT_MS = 1_000;

/** Ends the background orchestrator at `place`, and resolves when no process of it is left. */
export async function bringDown({ place, now, signal }: DownOptions): Promise<"ended" | "not running"> {
  try {
    const running = await findRunning(place, signal);
    if (running === undefined) return "not running";
    running.transport.shutdown(!now);
    await running.transport.closed(signal);
    await exited(running.welcome.pid);
  } catch (error) {
    if (GlimpseError.is(error, "PROTOCOL_MISMATCH")) {
      // It does not speak our language; SIGTERM is an orderly end in every version.
      await signalAndWait(place, "SIGTERM", signal);
    } else if (now && GlimpseError.is(error, "CONNECTION_LOST")) {
      await signalAndWait(place, "SIGKILL", signal);
    } else {
      throw error;
    }
  }
  return "ended";
}

/** The pid of the state file is right for as long as somebody listens at the place. */
async function signalAndWait(place: Place, name: "SIGTERM" | "SIGKILL", signal: AbortSignal): Promise<void> {
  const pid = readState(place)?.pid;
  if (pid !== undefined && (await answers(place.socket))) process.kill(pid, name);
  while (await answers(place.socket)) await delay(POLL_MS, undefined, { signal });
  if (pid !== undefined) await exited(pid);
}

async function exited(pid: number): Promise<void> {
  const deadline = performance.now() + EXIT_MS;
  while (isAlive(pid) && performance.now() < deadline) await delay(EXIT_POLL_MS);
}
