import { spawn } from "node:child_process";
import { randomUUID } from "node:crypto";
import { once } from "node:events";
import { readdirSync, readFileSync } from "node:fs";
import { createInterface } from "node:readline";
import { setTimeout as delay } from "node:timers/promises";
import { expect, test } from "vitest";

const PROMISED_MS = 2_000;
const program = new URL("./launches-a-model.ts", import.meta.url).pathname;

/** The Python processes whose environment holds `mark`: the program's workers and whatever those start. */
function pythons(mark: string): number[] {
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .filter((pid) => {
      try {
        return (
          readFileSync(`/proc/${pid}/environ`, "utf8").includes(mark) &&
          readFileSync(`/proc/${pid}/cmdline`, "utf8").includes("python")
        );
      } catch {
        // It ended while we looked.
        return false;
      }
    })
    .map(Number);
}

async function until(condition: () => boolean, milliseconds: number): Promise<boolean> {
  for (const end = performance.now() + milliseconds; performance.now() < end; await delay(10)) {
    if (condition()) return true;
  }
  return condition();
}

/** Starts the program and resolves when it has said `stage`, or, without one, as soon as its Python exists. */
async function reaches(stage: string | undefined, mark: string) {
  const node = spawn(process.execPath, ["--import", "tsx", program], {
    env: { ...process.env, GLIMPSE_TEST_MARK: mark },
    stdio: ["ignore", "pipe", "inherit"],
  });
  if (stage === undefined) {
    expect(await until(() => pythons(mark).length > 0, 30_000)).toBe(true);
    return node;
  }
  for await (const line of createInterface({ input: node.stdout })) if (line === stage) return node;
  throw new Error(`the program ended before it was ${stage}`);
}

test.each([
  ["at start-up", undefined],
  ["while it imports", "loading import"],
  ["while the weights load", "loading weights"],
  ["idle", "idle"],
  ["while streaming", "streaming"],
])("killing Node with SIGKILL %s leaves no Python process two seconds later", async (_, stage) => {
  const mark = randomUUID();
  const node = await reaches(stage, mark);
  expect(pythons(mark)).not.toEqual([]);
  const exited = once(node, "exit");
  process.kill(node.pid as number, "SIGKILL");
  await exited;
  expect(await until(() => pythons(mark).length === 0, PROMISED_MS)).toBe(true);
});
