import { type ChildProcessByStdio, spawn } from "node:child_process";
import { once } from "node:events";
import { closeSync, openSync } from "node:fs";
import { createInterface } from "node:readline";
import type { Readable, Writable } from "node:stream";
import { GlimpseError } from "../../protocol/errors.ts";
import type { Place } from "./place.ts";
import type { StartLine } from "./start-line.ts";

/** A process of its own session, which no terminal ends; what it writes to stderr goes to the log. */
export interface SpawnedDaemon {
  /** `taken`: somebody else listens at the place, and this process is about to end. */
  outcome: "listening" | "taken";
  /** Lets it start the workers. */
  begin(): void;
}

/** Starts `node ...argv`, which is to call `runDaemon`, and resolves when it has said whether the place was free. */
export async function spawnDaemon(place: Place, argv: readonly string[], line: StartLine): Promise<SpawnedDaemon> {
  const log = openSync(place.log, "a", 0o600);
  // Away from the directory of the shell, which may be removed; whoever writes `line` has made its paths absolute.
  const child = spawn(process.execPath, argv, {
    detached: true,
    cwd: "/",
    stdio: ["pipe", "pipe", log],
  }) as ChildProcessByStdio<Writable, Readable, null>;
  closeSync(log);
  // A process that ends at once closes its end: that it said nothing tells.
  child.stdin.on("error", () => {});
  child.stdin.write(`${JSON.stringify(line)}\n`);
  const outcome = await firstLine(child.stdout);
  child.stdout.destroy();
  child.unref();
  if (outcome === "listening" || outcome === "taken") return { outcome, begin: () => child.stdin.end() };
  child.kill("SIGKILL");
  throw new GlimpseError("WORKER_START_FAILED", "the background process ended before it listened", {
    hint: `Its last words are in ${place.log}.`,
  });
}

async function firstLine(input: Readable): Promise<string | undefined> {
  const lines = createInterface({ input });
  const [line] = await Promise.race([once(lines, "line"), once(lines, "close")]);
  lines.close();
  return line;
}
