import { access, constants, mkdir } from "node:fs/promises";
import { dirname } from "node:path";
import { GlimpseError } from "../../protocol/errors.ts";
import { withLock } from "./directory-lock.ts";
import { EnvironmentBuilder } from "./environment-builder.ts";
import { developmentLock, environmentDirectory, pythonOf, readStamp, runtimeLock, type Stamp } from "./location.ts";
import type { SetupOptions } from "./setup-events.ts";

/** Whether `setUp` with these options would have to install anything. Reads a few small files; starts nothing. */
export async function needsSetup(options: SetupOptions = {}): Promise<boolean> {
  const directory = options.directory ?? environmentDirectory();
  return (await missing(directory, await readStamp(directory), options)) !== "nothing";
}

type Missing = "everything" | "development" | "nothing";

async function missing(
  directory: string,
  stamp: Stamp | undefined,
  { torch, development }: SetupOptions,
): Promise<Missing> {
  if (!stamp || stamp.lock !== runtimeLock()) return "everything";
  if (torch !== undefined && stamp.torch !== torch) return "everything";
  if (!(await isExecutable(pythonOf(directory)))) return "everything";
  if (development && stamp.development !== developmentLock()) return "development";
  return "nothing";
}

/** The Python of an environment is a link to the one that it was made with, which may have been uninstalled. */
function isExecutable(path: string): Promise<boolean> {
  return access(path, constants.X_OK).then(
    () => true,
    () => false,
  );
}

/**
 * Makes the Python environment, or what is missing of it, with the pinned versions, and resolves to its interpreter.
 * Concurrent calls, also of other processes, wait for each other. An interrupted set-up is redone from the start.
 *
 * @throws GlimpseError PYTHON_NOT_FOUND, PYTHON_UNSUPPORTED, PYTHON_VENV_MISSING, SETUP_FAILED with pip's last lines or
 *   what the file system refused, or ABORTED.
 */
export async function setUp(options: SetupOptions = {}): Promise<string> {
  const directory = options.directory ?? environmentDirectory();
  const { signal, onEvent } = options;
  const builder = new EnvironmentBuilder(directory, options);
  let waited = false;
  const onWait = (holder: string): void => {
    waited = true;
    onEvent?.({ type: "start", step: "wait", title: `Waiting for another set-up of ${directory} (process ${holder})` });
  };
  const make = async (): Promise<void> => {
    if (waited) onEvent?.({ type: "done", step: "wait", files: 0, bytes: 0 });
    const stamp = await readStamp(directory);
    const what = await missing(directory, stamp, options);
    if (stamp === undefined || what === "everything") return builder.makeAnew(stamp?.torch);
    if (options.verify && !(await builder.works(stamp.torch))) return builder.makeAnew(stamp.torch);
    if (what === "development") return builder.addDevelopment(stamp);
  };
  try {
    // Before any lock is taken: an environment may be complete where nothing can be written.
    if (await isComplete(directory, builder, options)) return pythonOf(directory);
    await mkdir(dirname(directory), { recursive: true });
    await withLock(`${directory}.lock`, { signal, onWait }, make);
  } catch (error) {
    if (signal?.aborted) throw new GlimpseError("ABORTED", "the set-up was aborted by its signal", { cause: error });
    throw isSystemError(error) ? unwritable(directory, error) : error;
  }
  return pythonOf(directory);
}

async function isComplete(directory: string, builder: EnvironmentBuilder, options: SetupOptions): Promise<boolean> {
  const stamp = await readStamp(directory);
  if (stamp === undefined || (await missing(directory, stamp, options)) !== "nothing") return false;
  return !options.verify || builder.works(stamp.torch);
}

function isSystemError(error: unknown): error is NodeJS.ErrnoException {
  return error instanceof Error && "syscall" in error;
}

function unwritable(directory: string, cause: Error): GlimpseError {
  return new GlimpseError("SETUP_FAILED", `the Python environment cannot be made at ${directory}: ${cause.message}`, {
    hint: "see that this place can be written to and has room, then run: npx glimpse setup",
    cause,
  });
}
