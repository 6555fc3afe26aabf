import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { setTimeout as delay } from "node:timers/promises";
import { expect, test, vi } from "vitest";
import { resolvePython } from "../../orchestrator/python/resolve.ts";
import { isAlive, pidOf, startScripted } from "./scripted.ts";

function run(program: string, ...args: string[]): ChildProcess & { stdout: NonNullable<ChildProcess["stdout"]> } {
  const path = new URL(`./${program}`, import.meta.url).pathname;
  return spawn(process.execPath, ["--import", "tsx", path, ...args], { stdio: ["ignore", "pipe", "inherit"] });
}

test("closing does not wait for ever for a worker that not even SIGKILL ends", async () => {
  const transport = await startScripted("normal", { limits: { leaveMs: 50, killMs: 50 } });
  const pid = pidOf(transport);
  process.kill(pid, "SIGSTOP");
  // As the kernel does for a process that waits inside a driver.
  const { kill } = process;
  const deaf = vi.spyOn(process, "kill").mockImplementation((to, signal) => signal === "SIGKILL" || kill(to, signal));
  try {
    expect(await Promise.race([transport.close().then(() => "closed"), delay(5_000, "waits")])).toBe("closed");
    expect(isAlive(pid)).toBe(true);
  } finally {
    deaf.mockRestore();
    process.kill(-pid, "SIGKILL");
  }
});

test("after closing the process ends, whatever a worker has started that holds on to its stderr", async () => {
  const python = join(await mkdtemp(join(tmpdir(), "daemon-")), "python");
  await writeFile(python, `#!/bin/sh\nsetsid sleep 20 &\nexec "${await resolvePython()}" "$@"\n`, { mode: 0o755 });
  const child = run("closing-child.ts", python);
  for await (const line of createInterface({ input: child.stdout })) if (line === "closed") break;
  expect(await Promise.race([once(child, "exit"), delay(5_000, "waits")])).toEqual([0, null]);
});

test("a launch that is stopped for longer than a worker may be silent goes on when it is woken", async () => {
  const child = run("held-up.ts");
  const states: string[] = [];
  for await (const state of createInterface({ input: child.stdout })) {
    states.push(state);
    if (state !== "loading" || states.length > 2) continue;
    process.kill(child.pid as number, "SIGSTOP");
    await delay(1_200);
    process.kill(child.pid as number, "SIGCONT");
  }
  expect(states).toEqual(["starting", "loading", "ready", "stopping", "stopped"]);
});
