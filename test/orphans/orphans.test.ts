import { type ChildProcess, spawn } from "node:child_process";
import { randomUUID } from "node:crypto";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { setTimeout as delay } from "node:timers/promises";
import { expect, test } from "vitest";
import { commandOf, marked } from "../chaos/leftovers.ts";

const PROMISED_MS = 2_000;
const launchesAModel = new URL("./launches-a-model.ts", import.meta.url).pathname;
const launchesAPool = new URL("./launches-a-pool.ts", import.meta.url).pathname;

async function until(condition: () => boolean, milliseconds: number): Promise<boolean> {
  for (const end = performance.now() + milliseconds; performance.now() < end; await delay(10)) {
    if (condition()) return true;
  }
  return condition();
}

/** A Node process, and what it has started, its workers' children too. */
class Program {
  readonly #mark = randomUUID();
  readonly #node: ChildProcess;

  constructor(...command: string[]) {
    this.#node = spawn(process.execPath, ["--import", "tsx", ...command], {
      env: { ...process.env, GLIMPSE_TEST_MARK: this.#mark },
      stdio: ["ignore", "pipe", "inherit"],
    });
  }

  started(): number[] {
    return marked(this.#mark).filter((pid) => pid !== this.#node.pid && commandOf(pid) !== "");
  }

  /** Resolves when it has said `line`. */
  async says(line: string): Promise<void> {
    if (this.#node.stdout === null) throw new Error("its stdout is not read");
    for await (const said of createInterface({ input: this.#node.stdout })) if (said === line) return;
    throw new Error(`the program ended before it said: ${line}`);
  }

  /** What is alive after the promised time. */
  async orphans(): Promise<string[]> {
    const exited = once(this.#node, "exit");
    this.#node.kill("SIGKILL");
    await exited;
    await until(() => this.started().length === 0, PROMISED_MS);
    return this.started().map(commandOf);
  }
}

test.each([
  ["at start-up", undefined],
  ["while it imports", "loading import"],
  ["while the weights load", "loading weights"],
  ["idle", "idle"],
  ["while streaming", "streaming"],
])("killing Node with SIGKILL %s leaves no process of the model two seconds later", async (_, stage) => {
  const program = new Program(launchesAModel);
  if (stage !== undefined) await program.says(stage);
  expect(await until(() => program.started().length > 0, 30_000)).toBe(true);
  expect(await program.orphans()).toEqual([]);
});

test.each([
  ["starting", 3],
  ["loading", 3],
  ["idle", 3],
  // Here each of the three workers has a child.
  ["streaming", 6],
  ["draining", 6],
  ["stopping", 6],
])("killing Node with SIGKILL while its workers are %s leaves none of %i processes", async (state, processes) => {
  const program = new Program(launchesAPool, state);
  await program.says("there");
  expect(program.started().length).toBeGreaterThanOrEqual(processes);
  expect(await program.orphans()).toEqual([]);
});
