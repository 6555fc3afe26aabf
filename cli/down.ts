import { bringDown } from "../orchestrator/background/down.ts";
import { placeOf } from "../orchestrator/background/place.ts";
import { exitCodes, reportFailure } from "./failure.ts";
import type { Interruption } from "./interruption.ts";
import type { DownOptions } from "./options.ts";
import { ProgressDisplay } from "./progress.ts";
import { print } from "./terminal.ts";

/** `glimpse down`: ends the background orchestrator and its workers, and resolves to the exit code. */
export async function down({ name, now = false }: DownOptions, interruption: Interruption): Promise<number> {
  const display = new ProgressDisplay();
  try {
    if (process.stderr.isTTY) display.start(now ? "Ending" : "Ending, after what is running");
    const outcome = await bringDown({ place: placeOf(name), now, signal: interruption.signal });
    display.clear();
    print(process.stderr, outcome === "ended" ? "Ended.\n" : "It is not running.\n");
    return exitCodes.good;
  } catch (error) {
    display.clear();
    return interruption.happened ? exitCodes.failed : reportFailure(error);
  }
}
