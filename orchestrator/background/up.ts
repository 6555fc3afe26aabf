import type { LaunchSummary } from "../../protocol/remote.ts";
import type { WorkerEvent } from "../events.ts";
import { type Attached, attach, findRunning } from "./attach.ts";
import { makeDirectory, type Place } from "./place.ts";
import { spawnDaemon } from "./spawn.ts";
import { type StartLine, summaryOf } from "./start-line.ts";

export interface UpOptions {
  place: Place;
  /** Arguments of node for the program that calls `runDaemon`. */
  argv: readonly string[];
  line: StartLine;
  onEvent(event: WorkerEvent): void;
  /** Ends a start that takes too long, and the orchestrator if it is the one that was started here. */
  signal: AbortSignal;
}

export interface Difference {
  option: string;
  running: LaunchSummary[string] | undefined;
  asked: LaunchSummary[string] | undefined;
}

/** `differences`: one runs already, with other options than those asked for; it was left alone. */
export type UpOutcome = Attached & { outcome: "started" | "already running"; differences: Difference[] };

/**
 * Sees to it that a background orchestrator runs at `place`, and resolves when it takes requests. Rejects with the reason
 * of the start if it does not; then no process is left.
 */
export async function bringUp(options: UpOptions): Promise<UpOutcome> {
  const { place, argv, line, onEvent, signal } = options;
  makeDirectory(place);
  for (;;) {
    const running = await findRunning(place, signal);
    if (running?.welcome.phase === "ending") {
      await running.transport.closed(signal);
      continue;
    }
    if (running !== undefined) {
      const differences = compare(running.welcome.options, summaryOf(line));
      if (differences.length === 0) await follow(running, onEvent, signal);
      return { ...running, outcome: "already running", differences };
    }
    const daemon = await spawnDaemon(place, argv, line);
    // Another `up` was quicker.
    if (daemon.outcome === "taken") continue;
    const attached = await attach(place, signal);
    await start(attached, daemon.begin, onEvent, signal);
    return { ...attached, outcome: "started", differences: [] };
  }
}

async function start(attached: Attached, begin: () => void, onEvent: UpOptions["onEvent"], signal: AbortSignal) {
  const following = follow(attached, onEvent, signal);
  begin();
  try {
    await following;
  } catch (error) {
    attached.transport.shutdown(false);
    await attached.transport.closed();
    throw error;
  }
}

async function follow({ transport }: Attached, onEvent: UpOptions["onEvent"], signal: AbortSignal): Promise<void> {
  const unsubscribe = transport.subscribe(onEvent);
  await transport.ready(signal);
  unsubscribe();
}

/** The options in which a running orchestrator differs from one that would be started now. */
function compare(running: LaunchSummary, asked: LaunchSummary): Difference[] {
  const names = [...new Set([...Object.keys(running), ...Object.keys(asked)])].sort();
  return names
    .filter((name) => JSON.stringify(running[name]) !== JSON.stringify(asked[name]))
    .map((option) => ({ option, running: running[option], asked: asked[option] }));
}
