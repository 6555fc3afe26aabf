import { environmentDirectory, readStamp } from "../orchestrator/python/location.ts";
import { namedPython } from "../orchestrator/python/resolve.ts";
import { setUpVisibly } from "./environment.ts";
import { exitCodes, reportFailure } from "./failure.ts";
import type { Interruption } from "./interruption.ts";
import type { SetupOptions } from "./options.ts";
import { print } from "./terminal.ts";

/** `glimpse setup`: makes the Python environment, and resolves to the exit code. */
export async function setup({ torch }: SetupOptions, interruption: Interruption): Promise<number> {
  const named = namedPython();
  if (named !== undefined) {
    print(process.stderr, `GLIMPSE_PYTHON names ${named}, which is used as it is: there is nothing to set up\n`);
    return exitCodes.good;
  }
  try {
    await setUpVisibly({ torch, verify: true, signal: interruption.signal });
    const directory = environmentDirectory();
    const stamp = await readStamp(directory);
    print(process.stderr, `${directory} is complete: Python ${stamp?.python}, torch's ${stamp?.torch} build\n`);
    return exitCodes.good;
  } catch (error) {
    return interruption.happened ? exitCodes.failed : reportFailure(error);
  }
}
