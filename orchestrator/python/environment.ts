import { mkdir } from "node:fs/promises";
import { dirname } from "node:path";
import { GlimpseError } from "../../protocol/errors.ts";
import { withLock } from "./directory-lock.ts";
import { EnvironmentBuilder } from "./environment-builder.ts";
import { developmentLock, environmentDirectory, pythonOf, readStamp, runtimeLock, type Stamp } from "./location.ts";
import type { SetupOptions } from "./setup-events.ts";

/** Whether `setUp` with these options would have to install anything. Reads a few small files; starts nothing. */
export async function needsSetup(options: SetupOptions = {}): Promise<boolean> {
  return missing(await readStamp(options.directory ?? environmentDirectory()), options) !== "nothing";
}

type Missing = "everything" | "development" | "nothing";

function missing(stamp: Stamp | undefined, { torch, development }: SetupOptions): Missing {
  if (!stamp || stamp.lock !== runtimeLock()) return "everything";
  if (torch !== undefined && stamp.torch !== torch) return "everything";
  if (development && stamp.development !== developmentLock()) return "development";
  return "nothing";
}

/**
 * Makes the Python environment, or what is missing of it, with the pinned versions, and resolves to its interpreter.
 * Concurrent calls, also of other processes, wait for each other. An interrupted set-up is redone from the start.
 *
 * @throws GlimpseError PYTHON_NOT_FOUND, PYTHON_UNSUPPORTED, PYTHON_VENV_MISSING, SETUP_FAILED with pip's last lines, or
 *   ABORTED.
 */
export async function setUp(options: SetupOptions = {}): Promise<string> {
  const directory = options.directory ?? environmentDirectory();
  await mkdir(dirname(directory), { recursive: true });
  const { signal, onEvent } = options;
  let waited = false;
  const onWait = (holder: string): void => {
    waited = true;
    onEvent?.({ type: "start", step: "wait", title: `Waiting for another set-up of ${directory} (process ${holder})` });
  };
  const make = async (): Promise<void> => {
    if (waited) onEvent?.({ type: "done", step: "wait", files: 0, bytes: 0 });
    const builder = new EnvironmentBuilder(directory, options);
    const stamp = await readStamp(directory);
    const what = missing(stamp, options);
    if (stamp === undefined || what === "everything") return builder.makeAnew();
    if (what === "development") return builder.addDevelopment(stamp);
  };
  try {
    await withLock(`${directory}.lock`, { signal, onWait }, make);
  } catch (error) {
    if (!signal?.aborted) throw error;
    throw new GlimpseError("ABORTED", "the set-up was aborted by its signal", { cause: error });
  }
  return pythonOf(directory);
}
