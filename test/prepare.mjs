// What the checks and tests need: the JavaScript packages, and a Python environment with the development packages.
import { ensureNodeModules, registerTypeScript, requirePlatform } from "../bin/bootstrap.mjs";

/** Resolves to the Python that runs the tests: GLIMPSE_PYTHON, else the environment of the checkout. */
export async function prepare() {
  requirePlatform();
  ensureNodeModules();
  await registerTypeScript();
  const { ensureEnvironment } = await import("../cli/environment.ts");
  const { resolvePython } = await import("../orchestrator/python/resolve.ts");
  const { reportFailure } = await import("../cli/failure.ts");
  try {
    await ensureEnvironment(undefined, { development: true });
    return await resolvePython();
  } catch (error) {
    process.exit(reportFailure(error));
  }
}

// The path of the interpreter, for scripts.
if (process.argv[1] === import.meta.filename) process.stdout.write(`${await prepare()}\n`);
