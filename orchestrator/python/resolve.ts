import { access, constants } from "node:fs/promises";
import { resolve } from "node:path";
import { GlimpseError } from "../../protocol/errors.ts";
import { isSupported, probe } from "./interpreter.ts";
import { environmentDirectory, pythonOf, readStamp, runtimeLock } from "./location.ts";

/** The interpreter that the user named, which is used as it is: `python`, else GLIMPSE_PYTHON. */
export function namedPython(python?: string, env = process.env): string | undefined {
  return python ?? (env["GLIMPSE_PYTHON"] || undefined);
}

/**
 * The interpreter that workers are started with: the one named by `python` or GLIMPSE_PYTHON, else that of the
 * environment which the set-up made.
 *
 * @throws GlimpseError PYTHON_NOT_FOUND or PYTHON_UNSUPPORTED for a named one, PYTHON_DEPS_MISSING when the
 *   environment does not exist, is unfinished, or has other versions than the ones pinned now.
 */
export async function resolvePython(python?: string, env = process.env): Promise<string> {
  const named = namedPython(python, env);
  if (named === undefined) return environmentPython(environmentDirectory(env));
  const source = python === undefined ? "GLIMPSE_PYTHON" : "python";
  const interpreter = await probe(named, env);
  if (!interpreter) {
    throw new GlimpseError(
      "PYTHON_NOT_FOUND",
      `${source} must name a Python interpreter; ${JSON.stringify(named)} does not run`,
      {
        hint: "give the path of its executable, or leave it out and run: npx glimpse setup",
      },
    );
  }
  if (!isSupported(interpreter)) {
    throw new GlimpseError(
      "PYTHON_UNSUPPORTED",
      `${source} must be Python 3.11 or 3.12; ${named} is ${interpreter.version}`,
      {
        hint: "name another interpreter, or leave it out and run: npx glimpse setup",
      },
    );
  }
  return named.includes("/") ? resolve(named) : named;
}

/**
 * The interpreter of the environment at `directory`.
 *
 * @throws GlimpseError PYTHON_DEPS_MISSING when it is not what a set-up now would make.
 */
export async function environmentPython(directory: string): Promise<string> {
  const stamp = await readStamp(directory);
  const hint = "run: npx glimpse setup";
  if (!stamp)
    throw new GlimpseError("PYTHON_DEPS_MISSING", `there is no finished Python environment at ${directory}`, { hint });
  if (stamp.lock !== runtimeLock()) {
    throw new GlimpseError(
      "PYTHON_DEPS_MISSING",
      `the Python environment at ${directory} has other versions than the pinned ones`,
      { hint },
    );
  }
  const path = pythonOf(directory);
  try {
    await access(path, constants.X_OK);
  } catch (cause) {
    throw new GlimpseError("PYTHON_DEPS_MISSING", `the Python that ${directory} was made with is gone`, {
      hint,
      cause,
    });
  }
  return path;
}
