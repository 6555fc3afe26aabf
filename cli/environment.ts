import { needsSetup, setUp } from "../orchestrator/python/environment.ts";
import { namedPython } from "../orchestrator/python/resolve.ts";
import type { SetupEvent, SetupOptions } from "../orchestrator/python/setup-events.ts";
import { ProgressDisplay } from "./progress.ts";
import { size } from "./terminal.ts";

/** Sets up the Python environment if it is needed and not there. An interpreter that the user named is left alone. */
export async function ensureEnvironment(python: string | undefined, options: SetupOptions): Promise<void> {
  if (namedPython(python) !== undefined || !(await needsSetup(options))) return;
  await setUpVisibly(options);
}

/** The set-up, its steps shown on stderr. */
export async function setUpVisibly(options: SetupOptions): Promise<string> {
  const display = new ProgressDisplay();
  try {
    return await setUp({ ...options, onEvent: (event) => show(event, display) });
  } finally {
    display.clear();
  }
}

function show(event: SetupEvent, display: ProgressDisplay): void {
  switch (event.type) {
    case "start":
      return display.start(event.title);
    case "progress":
      return display.update(event);
    case "done":
      return display.finish(
        event.files === 0 ? "" : `${event.files} ${event.files === 1 ? "file" : "files"}, ${size(event.bytes)}`,
      );
    default:
      return event satisfies never;
  }
}
