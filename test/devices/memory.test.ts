import { describe, expect, test } from "vitest";
import { type Accelerator, GIB, MIB } from "../../orchestrator/devices/accelerator.ts";
import { type Clock, usedMemory, waitForMemory } from "../../orchestrator/devices/memory.ts";
import { type Placement, place } from "../../orchestrator/devices/place.ts";
import type { RunTool } from "../../orchestrator/devices/tool.ts";

const gpu: Accelerator = {
  kind: "cuda",
  index: 1,
  uuid: "GPU-bb",
  name: "NVIDIA L4",
  memoryBytes: 20_480 * MIB,
  usedBytes: 0,
};
const [placement] = place({ workers: "auto", gpusPerWorker: 1, device: "auto" }, [gpu], 4) as [Placement];
const [onCpu] = place({ workers: "auto", gpusPerWorker: 1, device: "cpu" }, [], 4) as [Placement];
const { signal } = new AbortController();

/** Moves on only when somebody sleeps. */
function fakeClock(): Clock & { slept: number[] } {
  let time = 0;
  const slept: number[] = [];
  return {
    slept,
    now: () => time,
    sleep: async (milliseconds, stop) => {
      stop.throwIfAborted();
      slept.push(milliseconds);
      time += milliseconds;
    },
  };
}

/** A machine whose GPU 1 has these MiB in use, one after the other; GPU 0 is full, and somebody else's. */
function machine(used: readonly (number | string)[], processes = ""): RunTool & { asked: () => number } {
  let asked = 0;
  const run: RunTool = async (tool, args) => {
    if (tool !== "nvidia-smi") return { kind: "missing" };
    const call = args.join(" ");
    if (call.includes("compute-apps")) return { kind: "answered", exitCode: 0, output: processes };
    if (call === "-L") return { kind: "answered", exitCode: 0, output: "" };
    const now = used[Math.min(asked++, used.length - 1)];
    const output = `0, GPU-aa, NVIDIA L4, 20480, 20000\n1, GPU-bb, NVIDIA L4, 20480, ${now}\n`;
    return { kind: "answered", exitCode: 0, output };
  };
  return Object.assign(run, { asked: () => asked });
}

describe("after a worker died", () => {
  test("the next one waits until the memory is back to about what it was", async () => {
    const clock = fakeClock();
    const run = machine([18_000, 18_000, 9_000, 700]);
    await expect(waitForMemory(placement, 300 * MIB, { withinMs: 10_000, clock, signal, run })).resolves.toEqual({
      kind: "free",
    });
    expect(clock.slept).toEqual([500, 500, 500]);
  });

  test("where nobody looked before, a tenth of the memory may be in use", async () => {
    const clock = fakeClock();
    const run = machine([2049, 2048]);
    await expect(waitForMemory(placement, undefined, { withinMs: 10_000, clock, signal, run })).resolves.toEqual({
      kind: "free",
    });
    expect(clock.slept).toHaveLength(1);
  });

  test("memory that does not come back is held by those processes", async () => {
    const clock = fakeClock();
    const run = machine([18_000], "GPU-bb, 4711, 17000\nGPU-bb, 4712, [N/A]\n");
    await expect(waitForMemory(placement, 0, { withinMs: 1_200, clock, signal, run })).resolves.toEqual({
      kind: "held",
      processes: [4711, 4712],
    });
    expect(clock.slept).toEqual([500, 500, 200]);
  });

  test("the memory of the workers that live on the same GPU is not waited for", async () => {
    const processes = "GPU-bb, 4711, 9000\nGPU-bb, 4712, 8000\n";
    const waiting = { withinMs: 1_000, clock: fakeClock(), signal };
    const run = machine([9_100], processes);
    await expect(waitForMemory(placement, 0, { ...waiting, run, ours: [4711] })).resolves.toEqual({ kind: "free" });
    const full = machine([17_100], processes);
    await expect(waitForMemory(placement, 0, { ...waiting, run: full, ours: [4711] })).resolves.toEqual({
      kind: "held",
      processes: [4712],
    });
  });

  test("on a CPU there is nothing to wait for, and nobody is asked", async () => {
    const run = machine([18_000]);
    await expect(waitForMemory(onCpu, undefined, { withinMs: 1_000, signal, run })).resolves.toEqual({ kind: "free" });
    expect(run.asked()).toBe(0);
  });

  test.each(["[N/A]", "[GPU is lost]"])("what the tool does not tell (%s) is not waited for", async (used) => {
    const waiting = { withinMs: 1_000, clock: fakeClock(), signal, run: machine([used]) };
    await expect(waitForMemory(placement, 0, waiting)).resolves.toEqual({ kind: "free" });
  });

  test("an abort ends the waiting", async () => {
    const controller = new AbortController();
    const clock = fakeClock();
    const run = machine([18_000]);
    const waiting = waitForMemory(placement, 0, { withinMs: 1e9, clock, signal: controller.signal, run });
    controller.abort();
    await expect(waiting).rejects.toMatchObject({ name: "AbortError" });
  });
});

test("the memory in use before a start is that of the worker's own GPU", async () => {
  await expect(usedMemory(placement, { run: machine([321]) })).resolves.toBe(321 * MIB);
  await expect(usedMemory(onCpu, { run: machine([321]) })).resolves.toBeUndefined();
  expect(gpu.memoryBytes).toBe(20 * GIB);
});
