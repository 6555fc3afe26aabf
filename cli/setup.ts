import { needsSetup } from "../orchestrator/python/environment.ts";
import { environmentDirectory, readStamp } from "../orchestrator/python/location.ts";
import { namedPython } from "../orchestrator/python/resolve.ts";
import type { TorchBuild } from "../orchestrator/python/torch-build.ts";
import { setUpVisibly } from "./environment.ts";
import { exitCodes, reportFailure } from "./failure.ts";
import { Interruption } from "./interruption.ts";

/** `glimpse setup`: makes the Python environment, and resolves to the exit code. */
export async function setup({ torch }: { torch?: TorchBuild }): Promise<number> {
  const named = namedPython();
  if (named !== undefined) {
    process.stderr.write(`GLIMPSE_PYTHON names ${named}, which is used as it is: there is nothing to set up\n`);
    return exitCodes.good;
  }
  const interruption = new Interruption();
  try {
    const options = { torch, signal: interruption.signal };
    if (await needsSetup(options)) await setUpVisibly(options);
    const directory = environmentDirectory();
    const stamp = await readStamp(directory);
    process.stderr.write(`${directory} is complete: Python ${stamp?.python}, torch's ${stamp?.torch} build\n`);
    return interruption.exitCode ?? exitCodes.good;
  } catch (error) {
    return interruption.exitCode ?? reportFailure(error);
  }
}
