import { attach } from "../orchestrator/background/attach.ts";
import { placeOf } from "../orchestrator/background/place.ts";
import { exitCodes, reportFailure } from "./failure.ts";
import type { Interruption } from "./interruption.ts";
import type { WorkersOptions } from "./options.ts";
import { workerTable } from "./table.ts";
import { print } from "./terminal.ts";

/** `glimpse workers`: shows the workers of the background orchestrator, and resolves to the exit code. */
export async function workers({ name, json }: WorkersOptions, interruption: Interruption): Promise<number> {
  try {
    const { transport, welcome } = await attach(placeOf(name), interruption.signal);
    const all = transport.workers();
    await transport.close();
    if (json) print(process.stdout, all.map((worker) => `${JSON.stringify(worker)}\n`).join(""));
    else print(process.stdout, workerTable(all));
    if (welcome.phase === "starting") print(process.stderr, "It is starting: no worker is ready yet.\n");
    return exitCodes.good;
  } catch (error) {
    return interruption.happened ? exitCodes.failed : reportFailure(error);
  }
}
