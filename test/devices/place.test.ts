import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type Accelerator, GIB } from "../../orchestrator/devices/accelerator.ts";
import { type PlacementRequest, place, placedOn } from "../../orchestrator/devices/place.ts";
import { GlimpseError } from "../../protocol/errors.ts";

function gpus(count: number, kind: Accelerator["kind"] = "cuda"): Accelerator[] {
  return Array.from({ length: count }, (_, index) => ({
    kind,
    index,
    uuid: `GPU-${index}`,
    name: "H100",
    memoryBytes: 80 * GIB,
    usedBytes: 0,
  }));
}

const defaults: PlacementRequest = { workers: "auto", gpusPerWorker: 1, device: "auto" };
const placed = (request: Partial<PlacementRequest>, count: number, cores = 16) =>
  place({ ...defaults, ...request }, gpus(count), cores);
const labels = (request: Partial<PlacementRequest>, count: number) => placed(request, count).map(({ label }) => label);

describe("on GPUs", () => {
  test("there is a worker per GPU, and each sees its own only, as cuda:0", () => {
    expect(placed({}, 2)).toEqual(
      gpus(2).map((gpu, number) => ({
        label: `cuda:${number}`,
        device: "cuda:0",
        env: { CUDA_VISIBLE_DEVICES: gpu.uuid, CUDA_DEVICE_ORDER: "PCI_BUS_ID" },
        threads: undefined,
        accelerators: [gpu],
      })),
    );
  });

  test("the only one is no must where nobody asks for it: torch may be built for the CPU", () => {
    expect(placed({}, 1)).toMatchObject([{ label: "cuda:0", device: "auto" }]);
    expect(placed({ device: "cuda" }, 1)).toMatchObject([{ label: "cuda:0", device: "cuda:0" }]);
    expect(placed({ workers: 1 }, 1)).toMatchObject([{ label: "cuda:0", device: "cuda:0" }]);
  });

  test("a worker is said to be where torch has put it, once it is ready", () => {
    const cpu = { kind: "cpu", id: "cpu", name: "EPYC" } as const;
    const gpu = { kind: "cuda", id: "cuda:0", name: "H100" } as const;
    const seen = (count: number, request: Partial<PlacementRequest>, device: typeof cpu | typeof gpu) =>
      placed(request, count).map((placement) => [placedOn(placement, undefined), placedOn(placement, device)]);
    expect(seen(0, {}, cpu)).toEqual([["auto", "cpu"]]);
    expect(seen(0, { device: "cuda" }, gpu)).toEqual([["cuda", "cuda:0"]]);
    expect(seen(1, {}, cpu)).toEqual([["cuda:0", "cpu"]]);
    // Each calls the GPU that it sees cuda:0.
    expect(seen(2, {}, gpu)[1]).toEqual(["cuda:1", "cuda:1"]);
    expect(seen(2, { gpusPerWorker: 2 }, gpu)).toEqual([["cuda:0,cuda:1", "cuda:0,cuda:1"]]);
  });

  test.each<[Partial<PlacementRequest>, number, string[]]>([
    [{ device: "cuda" }, 2, ["cuda:0", "cuda:1"]],
    [{ workers: 2 }, 3, ["cuda:0", "cuda:1"]],
    [{ device: "cuda:1" }, 3, ["cuda:1"]],
    [{ device: "cuda:1", workers: 1 }, 3, ["cuda:1"]],
    [{ workers: ["cuda:0", "cuda:2"] }, 3, ["cuda:0", "cuda:2"]],
    [{ workers: ["cuda:1", "cuda:1"] }, 2, ["cuda:1", "cuda:1"]],
    [{ workers: ["cuda:0", "cpu"] }, 1, ["cuda:0", "cpu"]],
    [{ workers: ["cuda:1"], device: "cuda" }, 2, ["cuda:1"]],
    [{ workers: ["cuda:1"], device: "cuda:1" }, 2, ["cuda:1"]],
    [{ gpusPerWorker: 2 }, 4, ["cuda:0,cuda:1", "cuda:2,cuda:3"]],
    [{ gpusPerWorker: 2, workers: 1 }, 3, ["cuda:0,cuda:1"]],
    [{ device: "cpu" }, 2, ["cpu"]],
    [{ device: "cpu", workers: 2 }, 2, ["cpu", "cpu"]],
  ])("%j with %i GPUs gives %j", (request, count, expected) => {
    expect(labels(request, count)).toEqual(expected);
  });

  test("a worker with several GPUs sees them all, and spreads the model by itself", () => {
    const [placement] = placed({ gpusPerWorker: 2 }, 2);
    expect(placement).toMatchObject({ device: "auto", env: { CUDA_VISIBLE_DEVICES: "GPU-0,GPU-1" } });
  });

  test("a GPU without a uuid goes by its number on the machine", () => {
    const [first, second] = gpus(2);
    const visible = [{ ...second, index: 5, uuid: undefined } as Accelerator, first as Accelerator];
    const [placement] = place({ ...defaults, gpusPerWorker: 2 }, visible, 4);
    expect(placement?.env["CUDA_VISIBLE_DEVICES"]).toBe("5,0");
  });

  test("on AMD's GPUs no inherited variable hides the worker's own", () => {
    const [, second] = place(defaults, gpus(2, "rocm"), 4);
    expect(second).toMatchObject({
      label: "cuda:1",
      device: "cuda:0",
      env: { ROCR_VISIBLE_DEVICES: "GPU-1", HIP_VISIBLE_DEVICES: "0", CUDA_VISIBLE_DEVICES: "0" },
    });
  });
});

describe("without a GPU", () => {
  const alone = { env: {}, threads: undefined, accelerators: [] };

  test("there is one worker, and torch decides where: it may see a GPU that no tool lists", () => {
    expect(placed({}, 0)).toEqual([{ label: "auto", device: "auto", ...alone }]);
    expect(placed({ device: "cuda" }, 0)).toEqual([{ label: "cuda", device: "cuda", ...alone }]);
    expect(placed({ device: "cuda:1" }, 0)).toEqual([{ label: "cuda:1", device: "cuda:1", ...alone }]);
    expect(labels({ workers: ["cuda:0", "cuda:1"] }, 0)).toEqual(["cuda:0", "cuda:1"]);
    expect(labels({ workers: 2, device: "cuda" }, 0)).toEqual(["cuda:0", "cuda:1"]);
  });

  test("a worker alone on the CPU leaves the number of threads to torch", () => {
    expect(placed({ device: "cpu" }, 0)).toEqual([{ label: "cpu", device: "cpu", ...alone }]);
  });

  test("several workers share the cores", () => {
    const shared = { label: "cpu", device: "cpu", env: { OMP_NUM_THREADS: "5" }, threads: 5, accelerators: [] };
    expect(placed({ workers: 3 }, 0)).toEqual([shared, shared, shared]);
    expect(placed({ workers: ["cpu", "cpu"] }, 0, 1)).toMatchObject([{ threads: 1 }, { threads: 1 }]);
  });

  test("a worker on a GPU beside them keeps a core", () => {
    expect(placed({ workers: ["cuda:0", "cpu", "cpu"] }, 1, 6).map(({ threads }) => threads)).toEqual([
      undefined,
      2,
      2,
    ]);
  });
});

describe("a refusal names the option", () => {
  test.each<[Partial<PlacementRequest>, number, string]>([
    [{ workers: 3 }, 2, "workers: expected at most 2 workers, one for each GPU, got 3"],
    [{ workers: 2, gpusPerWorker: 2 }, 3, "workers: expected 1 worker of 2 GPUs each, one for each GPU, got 2"],
    [{ workers: 2, device: "cuda:0" }, 2, "workers: expected 1 worker beside device cuda:0, one for each GPU, got 2"],
    [{ workers: ["cuda:0"], device: "cpu" }, 1, "workers: expected only cpu beside device cpu, got cuda:0"],
    [{ workers: ["cpu"], device: "cuda" }, 1, "workers: expected only cuda beside device cuda, got cpu"],
    [{ workers: ["cuda:0"], device: "cuda:1" }, 2, "workers: expected only cuda:1 beside device cuda:1, got cuda:0"],
    [{ gpusPerWorker: 2 }, 3, "gpusPerWorker: expected a number that divides the 3 GPUs, got 2"],
    [{ gpusPerWorker: 2, device: "cpu" }, 2, "gpusPerWorker: expected 1 beside device cpu, got 2"],
    [{ gpusPerWorker: 2, device: "cuda:0" }, 2, "gpusPerWorker: expected 1 beside device cuda:0, got 2"],
    [
      { gpusPerWorker: 2, workers: ["cuda:0"] },
      2,
      "gpusPerWorker: expected 1 beside a list of devices in workers, got 2",
    ],
    [{ gpusPerWorker: 0 }, 1, "gpusPerWorker: expected a whole number of at least 1, got 0"],
    [
      { workers: 0 },
      1,
      'workers: expected "auto", a whole number of at least 1, or an array of "cpu" and "cuda:N", got 0',
    ],
    [
      { workers: 1.5 },
      1,
      'workers: expected "auto", a whole number of at least 1, or an array of "cpu" and "cuda:N", got 1.5',
    ],
    [{ workers: [] }, 1, "workers: expected at least one device, got an empty array"],
    [
      { workers: ["cuda"] },
      1,
      'workers: expected "auto", a whole number of at least 1, or an array of "cpu" and "cuda:N", got cuda',
    ],
    [{ device: "gpu" }, 1, 'device: expected "auto", "cpu", "cuda" or "cuda:N", got gpu'],
  ])("%j with %i GPUs", (request, count, message) => {
    expect(() => placed(request, count)).toThrow(expect.objectContaining({ code: "INVALID_REQUEST", message }));
  });

  test.each<[Partial<PlacementRequest>, number, string]>([
    [{ device: "cuda:2" }, 2, "device: cuda:2 is not there; found cuda:0 to cuda:1"],
    [{ workers: ["cuda:1"] }, 1, "workers: cuda:1 is not there; found cuda:0"],
    [{ gpusPerWorker: 2 }, 1, "gpusPerWorker: 2 GPUs are not there; found 1"],
    [{ gpusPerWorker: 2 }, 0, "gpusPerWorker: 2 GPUs are not there; found none"],
  ])("%j with %i GPUs: not there", (request, count, message) => {
    expect(() => placed(request, count)).toThrow(expect.objectContaining({ code: "DEVICE_NOT_FOUND", message }));
  });

  test("more workers than GPUs: the hint says how to insist", () => {
    expect(() => placed({ workers: 2 }, 1)).toThrow(
      expect.objectContaining({ hint: expect.stringContaining("name it twice in workers") }),
    );
  });
});

describe("whatever is asked for", () => {
  const devices = fc.constantFrom("auto", "cpu", "cuda", "cuda:0", "cuda:3");
  const entries = fc.constantFrom("cpu", "cuda:0", "cuda:1", "cuda:2", "cuda:5");
  const request = fc.record({
    workers: fc.oneof(
      fc.constant("auto" as const),
      fc.integer({ min: 1, max: 10 }),
      fc.array(entries, { minLength: 1 }),
    ),
    gpusPerWorker: fc.integer({ min: 1, max: 4 }),
    device: devices,
  });
  const machine = fc.record({
    count: fc.nat(8),
    kind: fc.constantFrom("cuda", "rocm"),
    cores: fc.integer({ min: 1, max: 64 }),
  });

  /** Holds for every answer; refusals are answers too, by name and with nothing placed. */
  function holds(property: (request: PlacementRequest, placements: ReturnType<typeof place>, cores: number) => void) {
    let answered = 0;
    fc.assert(
      fc.property(request, machine, (asked, { count, kind, cores }) => {
        try {
          property(asked, place(asked, gpus(count, kind as Accelerator["kind"]), cores), cores);
          answered++;
        } catch (error) {
          if (!GlimpseError.is(error)) throw error;
          expect(error.message).toMatch(/^(workers|gpusPerWorker|device): /);
        }
      }),
      { numRuns: 500 },
    );
    expect(answered).toBeGreaterThan(50);
  }

  test("no GPU has two workers unless it is listed twice", () => {
    holds(({ workers }, placements) => {
      const used = placements.flatMap(({ accelerators }) => accelerators);
      if (typeof workers === "object") expect(placements.map(({ label }) => label)).toEqual(workers);
      else expect(new Set(used).size).toBe(used.length);
    });
  });

  test("each worker has as many GPUs as it was to have, neighbours, and sees no others", () => {
    holds(({ gpusPerWorker }, placements) => {
      for (const { accelerators, env } of placements) {
        if (accelerators.length === 0) continue;
        expect(accelerators).toHaveLength(gpusPerWorker);
        const [first = 0, ...others] = accelerators.map(({ index }) => index);
        expect(others).toEqual(others.map((_, position) => first + position + 1));
        const visible = env["ROCR_VISIBLE_DEVICES"] ?? env["CUDA_VISIBLE_DEVICES"];
        expect(visible).toBe(accelerators.map(({ uuid }) => uuid).join(","));
      }
    });
  });

  test("workers on a CPU have no more threads than there are cores, or one each", () => {
    holds((_, placements, cores) => {
      const threads = placements.flatMap((placement) => placement.threads ?? []);
      const sum = threads.reduce((total, count) => total + count, 0);
      expect(sum <= cores || threads.every((count) => count === 1)).toBe(true);
      for (const { threads: own, env } of placements) expect(env["OMP_NUM_THREADS"]).toBe(own?.toString());
    });
  });

  test("a number of workers is a number of workers, and device cpu uses no GPU", () => {
    holds(({ workers, device }, placements) => {
      if (typeof workers === "number") expect(placements).toHaveLength(workers);
      if (device === "cpu") expect(placements.every((placement) => placement.device === "cpu")).toBe(true);
    });
  });
});
