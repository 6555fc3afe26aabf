import { delimiter } from "node:path";
import { execa } from "execa";
import { packageRoot, workerSource } from "../../orchestrator/package-root.ts";
import { resolvePython } from "../../orchestrator/python/resolve.ts";

export interface Run {
  args: readonly string[];
  /** For its stdin. Default: nothing. */
  input?: string;
  signal: AbortSignal;
}

/** Runs a Python module of this checkout to its end; resolves to what it printed. */
export async function runPython(module: string, { args, input = "", signal }: Run): Promise<string> {
  const inherited = process.env["PYTHONPATH"];
  const { failed, exitCode, stdout, stderr } = await execa(await resolvePython(), ["-m", module, ...args], {
    cwd: packageRoot,
    // The drawing prepares pictures with the worker's own code.
    env: { PYTHONPATH: inherited ? `${workerSource}${delimiter}${inherited}` : workerSource },
    input,
    cancelSignal: signal,
    reject: false,
  });
  signal.throwIfAborted();
  if (failed) throw new Error(`python -m ${module} must exit with 0, got ${exitCode ?? "a signal"}: ${stderr}`);
  return stdout;
}
