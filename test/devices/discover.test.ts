import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { GIB, MIB } from "../../orchestrator/devices/accelerator.ts";
import { discover, discoverAccelerators, processesOn } from "../../orchestrator/devices/discover.ts";
import { type RunTool, runTool } from "../../orchestrator/devices/tool.ts";
import { isAlive } from "../orchestrator/scripted.ts";
import { recordedTools } from "./recorded-tools.ts";

const found = (machine: string, env: NodeJS.ProcessEnv = {}) => discoverAccelerators(recordedTools(machine), env);

async function heldOn(machine: string) {
  const tools = recordedTools(machine);
  return processesOn(await discoverAccelerators(tools, {}), tools);
}

describe("NVIDIA", () => {
  const h200 = {
    kind: "cuda",
    index: 0,
    uuid: "GPU-50499f06-2d70-1755-1789-000000000000",
    name: "NVIDIA H200",
    memoryBytes: 143_771 * MIB,
    usedBytes: 1643 * MIB,
  };

  test("a GPU is listed with its uuid and memory, and with the process that holds it", async () => {
    await expect(found("h200")).resolves.toEqual([h200]);
    await expect(heldOn("h200")).resolves.toEqual([{ pid: 451, usedBytes: 1634 * MIB }]);
  });

  test("a GPU that MIG divides is listed as its parts", async () => {
    const part = { kind: "cuda", index: 0, memoryBytes: 20 * GIB, usedBytes: undefined };
    await expect(found("mig")).resolves.toEqual([
      { ...part, name: "NVIDIA A100-SXM4-40GB MIG 3g.20gb", uuid: "MIG-c6d4f1ef-42e4-5de3-91c7-45d71c87eb3f" },
      { ...part, name: "NVIDIA A100-SXM4-40GB MIG 1c.3g.20gb", uuid: "MIG-0b1d2c3a-42e4-5de3-91c7-45d71c87eb40" },
      expect.objectContaining({ index: 1, uuid: "GPU-8d5ba0d6-d33d-2b2c-524d-000000000001", usedBytes: 4 * MIB }),
    ]);
  });

  test("a lost GPU is left out, and the reason says so; the others stay", async () => {
    const { accelerators, reasons } = await discover(recordedTools("lost", 15), {});
    expect(accelerators.map(({ index }) => index)).toEqual([0]);
    expect(reasons).toEqual(["nvidia-smi: GPU 2: GPU is lost", "nvidia-smi: GPU 3: GPU requires reset"]);
  });

  test.each([
    ["mismatch", 18, "nvidia-smi (exit code 18): Failed to initialize NVML: Driver/library version mismatch"],
    ["no-driver", 9, "nvidia-smi (exit code 9): NVIDIA-SMI has failed because it couldn't communicate with"],
  ])("with a broken driver (%s) there is no GPU, for a reason", async (machine, exitCode, reason) => {
    const { accelerators, reasons } = await discover(recordedTools(machine, exitCode), {});
    expect(accelerators).toEqual([]);
    expect(reasons).toEqual([expect.stringContaining(reason)]);
  });

  test("memory that the tool does not tell is unknown, not zero", async () => {
    const [gpu] = await found("gb10");
    expect(gpu).toMatchObject({ name: "NVIDIA GB10", memoryBytes: undefined, usedBytes: undefined });
    await expect(heldOn("gb10")).resolves.toEqual([
      { pid: 3150, usedBytes: 218 * MIB },
      { pid: 6330, usedBytes: undefined },
    ]);
  });
});

describe("AMD", () => {
  test("amd-smi of ROCm 7: GPUs are in the order in which the runtime counts them", async () => {
    const model = { kind: "rocm", name: "AMD Radeon AI PRO R9700", memoryBytes: 32_624 * MIB };
    await expect(found("rocm7")).resolves.toEqual([
      { ...model, index: 0, uuid: "GPU-a8e9ddefa2d60002", usedBytes: 57 * MIB },
      { ...model, index: 1, uuid: "GPU-76a08c0225860001", usedBytes: 29_777 * MIB },
    ]);
  });

  test("amd-smi of ROCm 7: the processes are those of the GPU that was asked for", async () => {
    const tools = recordedTools("rocm7");
    const [idle, busy] = await discoverAccelerators(tools, {});
    await expect(processesOn(idle ? [idle] : [], tools)).resolves.toEqual([]);
    await expect(processesOn(busy ? [busy] : [], tools)).resolves.toEqual([
      { pid: 213_534, usedBytes: 56_000 },
      { pid: 213_952, usedBytes: 21_008_920_000 },
    ]);
  });

  test("amd-smi of ROCm 6: plain lists, a warning before the JSON, no word on the used memory", async () => {
    const name = "Strix Halo [Radeon Graphics / Radeon 8050S Graphics / Radeon 8060S Graphics]";
    const gpu = { kind: "rocm", index: 0, uuid: undefined, name, memoryBytes: 32 * GIB, usedBytes: undefined };
    await expect(found("rocm6")).resolves.toEqual([gpu]);
    await expect(heldOn("rocm6")).resolves.toEqual([{ pid: 4711, usedBytes: 9 * GIB }]);
  });

  test("rocm-smi: the processor's own graphics are left out", async () => {
    const name = "Navi 21 [Radeon RX 6800/6800 XT / 6900 XT]";
    await expect(found("rocm-smi")).resolves.toEqual([
      {
        kind: "rocm",
        index: 0,
        uuid: "GPU-92460000000000aa",
        name,
        memoryBytes: 17_163_091_968,
        usedBytes: 692_142_080,
      },
    ]);
    await expect(heldOn("rocm-smi")).resolves.toEqual([
      { pid: 1_168_514, usedBytes: 177_386_942_464 },
      { pid: 1_168_999, usedBytes: undefined },
    ]);
  });

  test("rocm-smi of ROCm 5: two halves of a GPU with one id go by their numbers", async () => {
    const gpus = await found("rocm5");
    expect(gpus.map(({ index, uuid, name }) => ({ index, uuid, name }))).toEqual(
      [0, 1].map((index) => ({ index, uuid: undefined, name: "AMD INSTINCT MI250 (MCM) OAM AC MBA" })),
    );
  });
});

describe("the environment", () => {
  const indices = async (env: NodeJS.ProcessEnv, gpus = "0 1 2 3") => {
    const lines = gpus.split(" ").map((index) => `${index}, GPU-${index}0000000-aa, NVIDIA H100, 81559, 0`);
    const tools: RunTool = async (tool, [first]) =>
      tool === "nvidia-smi"
        ? { kind: "answered", exitCode: 0, output: first === "-L" ? "" : lines.join("\n") }
        : { kind: "missing" };
    return (await discoverAccelerators(tools, env)).map(({ index }) => index);
  };

  test.each([
    [undefined, [0, 1, 2, 3]],
    ["2,0", [2, 0]],
    ["", []],
    ["-1", []],
    ["1,-1,2", [1]],
    ["1, 3", [1, 3]],
    ["0,9,1", [0]],
    ["1,1", []],
    ["GPU-20000000-aa,GPU-3", [2, 3]],
    ["gpu-1", [1]],
    ["GPU-", []],
    ["NoDevFiles", []],
  ])("CUDA_VISIBLE_DEVICES=%s leaves %j", async (variable, left) => {
    await expect(indices({ CUDA_VISIBLE_DEVICES: variable })).resolves.toEqual(left);
  });

  test("AMD's variables do not hide NVIDIA's GPUs", async () => {
    await expect(indices({ HIP_VISIBLE_DEVICES: "0", ROCR_VISIBLE_DEVICES: "1" })).resolves.toEqual([0, 1, 2, 3]);
  });

  test.each([
    [{ HIP_VISIBLE_DEVICES: "1" }, [1]],
    [{ CUDA_VISIBLE_DEVICES: "1" }, [1]],
    [{ HIP_VISIBLE_DEVICES: "0", CUDA_VISIBLE_DEVICES: "1" }, [0]],
    [{ ROCR_VISIBLE_DEVICES: "1", HIP_VISIBLE_DEVICES: "0" }, [1]],
    [{ ROCR_VISIBLE_DEVICES: "GPU-76a08c0225860001" }, [1]],
    [{ ROCR_VISIBLE_DEVICES: "1", HIP_VISIBLE_DEVICES: "1" }, []],
  ])("on AMD's GPUs %j leaves %j", async (env, left) => {
    expect((await found("rocm7", env)).map(({ index }) => index)).toEqual(left);
  });
});

describe("real executables", () => {
  const bin = mkdtempSync(join(tmpdir(), "glimpse-devices-"));
  afterAll(() => rmSync(bin, { recursive: true }));
  const env = { PATH: `${bin}:${process.env["PATH"]}` };

  function install(name: string, script: string): void {
    writeFileSync(join(bin, name), `#!/bin/sh\n${script}\n`);
    chmodSync(join(bin, name), 0o755);
  }

  test("the first tool on PATH that lists a GPU is believed, and one that fails is named", async () => {
    install("nvidia-smi", "echo 'Failed to initialize NVML: Unknown Error'; exit 255");
    const card = '{"card0": {"Card Series": "MI300X", "VRAM Total Memory (B)": "206141652992"}}';
    install("rocm-smi", `[ "$5" = vram ] && [ "$6" = --json ] && echo '${card}'`);
    const { accelerators, reasons } = await discover((tool, args) => runTool(tool, args, 10_000, env), env);
    expect(accelerators).toEqual([expect.objectContaining({ name: "MI300X", memoryBytes: 206_141_652_992 })]);
    expect(reasons).toEqual(["nvidia-smi (exit code 255): Failed to initialize NVML: Unknown Error"]);
  });

  test("without any tool there is no GPU and no reason", async () => {
    const nowhere: RunTool = (tool, args) => runTool(tool, args, 10_000, { PATH: join(bin, "nothing") });
    await expect(discover(nowhere, {})).resolves.toEqual({ accelerators: [], reasons: [] });
  });

  test("a tool that hangs is given up, and its children end with it", async () => {
    const pids = join(bin, "pids");
    install("hanging", `trap '' TERM; sleep 600 & echo $$ $! > ${pids}; wait`);
    const answer = await runTool("hanging", [], 2_000, env);
    expect(answer).toEqual({ kind: "silent", reason: "hanging did not answer within 2 s" });
    for (const pid of readFileSync(pids, "utf8").trim().split(" ").map(Number)) {
      await expect.poll(() => isAlive(pid)).toBe(false);
    }
  });
});
