import { runDaemon } from "../orchestrator/background/daemon.ts";
import { placeOf } from "../orchestrator/background/place.ts";
import { readStartLine, summaryOf } from "../orchestrator/background/start-line.ts";
import { startTransport } from "../sdk/launch.ts";
import { exitCodes, reportFailure } from "./failure.ts";
import type { Interruption } from "./interruption.ts";

const MINUTE_MS = 60_000;

/** The process behind `glimpse up`; resolves to the exit code when no worker is left. Connections may be open still. */
export async function background(interruption: Interruption): Promise<number> {
  try {
    const { line, begin } = await readStartLine(process.stdin);
    await runDaemon({
      place: placeOf(line.name),
      summary: summaryOf(line),
      idleMs: line.idleMinutes * MINUTE_MS,
      signal: interruption.signal,
      // launch() checks them, and says by name what is wrong.
      start: (onEvent, signal) => startTransport({ ...line.launch, hubToken: line.hubToken, onEvent, signal }),
      begin,
      onBound: (outcome) => void process.stdout.write(`${outcome}\n`),
    });
    return exitCodes.good;
  } catch (error) {
    return reportFailure(error);
  }
}
