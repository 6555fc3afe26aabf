import { existsSync } from "node:fs";
import { join, resolve } from "node:path";
import { placeOf } from "../orchestrator/background/place.ts";
import type { StartLine } from "../orchestrator/background/start-line.ts";
import { bringUp, type Difference } from "../orchestrator/background/up.ts";
import { packageRoot } from "../orchestrator/package-root.ts";
import { namedPython } from "../orchestrator/python/resolve.ts";
import { ensureEnvironment } from "./environment.ts";
import { exitCodes, reportFailure } from "./failure.ts";
import type { Interruption } from "./interruption.ts";
import { showLoading } from "./loading.ts";
import type { UpOptions } from "./options.ts";
import { ProgressDisplay } from "./progress.ts";
import { workerTable } from "./table.ts";
import { print } from "./terminal.ts";

const program = [join(packageRoot, "bin", "glimpse.mjs"), "background"];

/** `glimpse up`: starts the background orchestrator unless it runs, and resolves to the exit code. */
export async function up(options: UpOptions, interruption: Interruption): Promise<number> {
  const { signal } = interruption;
  const display = new ProgressDisplay();
  try {
    const place = placeOf(options.name);
    await ensureEnvironment(options.python, { signal });
    const onEvent = showLoading(display);
    const result = await bringUp({ place, argv: program, line: startLine(options), onEvent, signal });
    display.clear();
    const { outcome, differences, welcome, transport } = result;
    if (differences.length > 0) return refuse(differences, welcome.pid, options.name);
    const idle =
      options.idleMinutes === 0 ? "" : ` It ends when nobody was connected for ${options.idleMinutes} minutes.`;
    print(process.stderr, `${outcome === "started" ? "Started" : "Already running"}: process ${welcome.pid}.${idle}\n`);
    print(process.stdout, workerTable(transport.workers()));
    await transport.close();
    return exitCodes.good;
  } catch (error) {
    display.clear();
    return interruption.happened ? exitCodes.failed : reportFailure(error);
  }
}

/** Its process has another current directory: paths become absolute. */
function startLine({ name, idleMinutes, model, python, ...options }: UpOptions): StartLine {
  const interpreter = namedPython(python);
  const launch = {
    ...options,
    model: model !== undefined && existsSync(model) ? resolve(model) : model,
    python: interpreter?.includes("/") ? resolve(interpreter) : interpreter,
  };
  const given = Object.entries(launch).filter(([, value]) => value !== undefined);
  return { name, idleMinutes, launch: Object.fromEntries(given) as StartLine["launch"] };
}

function refuse(differences: readonly Difference[], pid: number, name: string): number {
  const lines = differences.map(
    ({ option, running, asked }) => `${option}: runs with ${shown(running)}, asked for ${shown(asked)}`,
  );
  print(process.stderr, `glimpse: process ${pid} runs already, with other options\n  ${lines.join("\n  ")}\n`);
  print(process.stderr, `  End it first: npx glimpse down${name === "default" ? "" : ` --name ${name}`}\n`);
  return exitCodes.failed;
}

function shown(value: Difference["running"]): string {
  return value === undefined ? "the default" : String(value);
}
