import { spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { afterAll, afterEach, expect, onTestFinished, test, vi } from "vitest";
import { makeDirectory } from "../../orchestrator/background/place.ts";
import { Daemons } from "./daemons.ts";

const daemons = new Daemons();
afterEach(() => vi.useRealTimers());
afterAll(() => daemons.remove());

/** A process at the place of a background orchestrator that does not speak as we do. */
async function strange(manner: "mismatch" | "silent") {
  makeDirectory(daemons.place());
  const program = join(import.meta.dirname, "strange-daemon.ts");
  const child = spawn(process.execPath, ["--import", "tsx", program, manner], {
    env: { ...process.env, XDG_RUNTIME_DIR: daemons.runtime },
    stdio: ["ignore", "pipe", "inherit"],
  });
  onTestFinished(() => void child.kill("SIGKILL"));
  const exited = once(child, "exit");
  await once(child.stdout, "data");
  return { exited };
}

/** Starts `work`, and lets the ten seconds pass that it waits for an answer. */
async function withoutWaiting<Value>(work: () => Promise<Value>): Promise<Value> {
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
  const result = work();
  result.catch(() => {});
  await vi.waitUntil(() => vi.getTimerCount() > 0, { timeout: 30_000 });
  vi.advanceTimersByTime(10_000);
  return result;
}

test("down ends a background orchestrator of another version, which connect() and up refuse by name", async () => {
  const { exited } = await strange("mismatch");
  await expect(daemons.attach()).rejects.toMatchObject({ code: "PROTOCOL_MISMATCH" });
  await expect(daemons.up()).rejects.toMatchObject({ code: "PROTOCOL_MISMATCH" });
  expect(await daemons.down("default", false)).toBe("ended");
  expect(await exited).toEqual([0, null]);
});

test("down --now kills one that does not answer; without it, it says what to do", async () => {
  const { exited } = await strange("silent");
  await expect(withoutWaiting(() => daemons.down("default", false))).rejects.toMatchObject({
    code: "CONNECTION_LOST",
    hint: expect.stringContaining("glimpse down --now"),
  });
  expect(await withoutWaiting(() => daemons.down("default", true))).toBe("ended");
  expect(await exited).toEqual([null, "SIGKILL"]);
});
