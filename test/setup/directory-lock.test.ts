import { existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { hostname } from "node:os";
import { dirname, join } from "node:path";
import { beforeEach, describe, expect, onTestFinished, test, vi } from "vitest";
import { withLock } from "../../orchestrator/python/directory-lock.ts";
import { scratchDirectory } from "./scratch.ts";

let path: string;

beforeEach(() => {
  path = join(scratchDirectory(), "environment.lock");
});

const taken = async (): Promise<string> => "taken";

/** Time for those that watch a lock: ten seconds pass from one look to the next. */
function tenSecondsALook(): void {
  let now = 0;
  const clock = vi.spyOn(performance, "now").mockImplementation(() => {
    now += 10_000;
    return now;
  });
  onTestFinished(() => clock.mockRestore());
}

describe("a lock", () => {
  test.each([
    ["our own pid, as a container gives it again", `${process.pid} ${hostname()} of-another-life`],
    ["the pid of nobody", `${2 ** 30} ${hostname()} of-another-life`],
  ])("left behind with %s is taken over at once", async (_name, text) => {
    writeFileSync(path, text);
    const onWait = vi.fn();
    await expect(withLock(path, { onWait }, taken)).resolves.toBe("taken");
    expect(onWait).not.toHaveBeenCalled();
    expect(readdirSync(dirname(path))).toEqual([]);
  });

  test.each([
    ["of another container", "7 another-container x"],
    ["whose pid another process has now", `${process.ppid} ${hostname()} x`],
    ["that was never written", ""],
  ])("%s is taken over when it has been silent for long", async (_name, text) => {
    tenSecondsALook();
    writeFileSync(path, text);
    const onWait = vi.fn();
    await expect(withLock(path, { onWait }, taken)).resolves.toBe("taken");
    expect(onWait).toHaveBeenCalledOnce();
  });

  test("that is held is waited for, also by the same process", async () => {
    const order: string[] = [];
    let letGo = (): void => {};
    const first = withLock(path, {}, () => {
      order.push("first");
      return new Promise<void>((resolve) => {
        letGo = resolve;
      });
    });
    await vi.waitFor(() => expect(order).toEqual(["first"]), { timeout: 30_000 });
    const onWait = vi.fn(() => letGo());
    await withLock(path, { onWait }, async () => void order.push("second"));
    await first;
    expect(order).toEqual(["first", "second"]);
    expect(onWait).toHaveBeenCalledExactlyOnceWith(`${process.pid} on ${hostname()}`);
  });

  test("left behind is taken over by one of many", async () => {
    writeFileSync(path, `${process.pid} ${hostname()} of-another-life`);
    let inside = 0;
    const alone = async (): Promise<number> => {
      inside += 1;
      await new Promise(setImmediate);
      return inside--;
    };
    const counts = await Promise.all(Array.from({ length: 8 }, () => withLock(path, {}, alone)));
    expect(counts).toEqual(Array(8).fill(1));
  });

  test("is taken over although somebody died while taking it over", async () => {
    tenSecondsALook();
    writeFileSync(path, `${process.pid} ${hostname()} of-another-life`);
    writeFileSync(`${path}.guard`, "");
    await expect(withLock(path, {}, taken)).resolves.toBe("taken");
    expect(readdirSync(dirname(path))).toEqual([]);
  });

  test("that somebody else has taken over by force is left to them", async () => {
    await withLock(path, {}, async () => {
      rmSync(path);
      writeFileSync(path, "7 another-container x");
    });
    expect(readFileSync(path, "utf8")).toBe("7 another-container x");
    expect(readdirSync(dirname(path))).toHaveLength(1);
  });

  test("that cannot be looked at is an error, not a wait for ever", async () => {
    await expect(withLock(dirname(path), {}, taken)).rejects.toMatchObject({ code: "EISDIR" });
  });

  test("is given up by a signal, and work that fails leaves none", async () => {
    writeFileSync(path, `${process.ppid} ${hostname()} x`);
    const controller = new AbortController();
    const waiting = withLock(path, { signal: controller.signal, onWait: () => controller.abort() }, taken);
    await expect(waiting).rejects.toMatchObject({ name: "AbortError" });
    rmSync(path);
    const failing = withLock(path, {}, () => Promise.reject(new Error("no")));
    await expect(failing).rejects.toThrow("no");
    expect(existsSync(path)).toBe(false);
  });
});
