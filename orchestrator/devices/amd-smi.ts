import { z } from "zod";
import type { Accelerator, DeviceProcess } from "./accelerator.ts";
import { askForJson, type JsonAnswer, quantity } from "./json-output.ts";
import { type DeviceTool, type Listing, mergeProcesses, nothing } from "./listing.ts";
import type { RunTool } from "./tool.ts";

const tool = "amd-smi";

export const amdSmi: DeviceTool = { kind: "rocm", list, processes };

/** Since ROCm 7 some of the commands wrap their list. */
function listOf<T extends z.ZodType>(entry: T) {
  return z.union([z.array(entry), z.object({ gpu_data: z.array(entry) }).transform(({ gpu_data }) => gpu_data)]);
}

/** What "N/A" and its like become. */
const absent = z.unknown().transform(() => undefined);

const identities = listOf(
  z.object({
    gpu: z.int().min(0),
    /** How the runtime counts and names it. Since ROCm 6.4, with `-e`. */
    hip_id: z.int().min(0).or(absent).optional(),
    // "GPU-XX" and zeros stand for a GPU that has none.
    hip_uuid: z
      .string()
      .regex(/^GPU-(?!0+$)[0-9a-f]+$/i)
      .or(absent)
      .optional(),
  }),
);
const models = listOf(
  z.object({
    gpu: z.int().min(0),
    asic: z.object({ market_name: z.string() }).optional(),
    vram: z.object({ size: quantity }).optional(),
  }),
);
const metrics = listOf(
  z.object({
    gpu: z.int().min(0),
    mem_usage: z.object({ total_vram: quantity, used_vram: quantity }).or(absent).optional(),
  }),
);
const holders = listOf(
  z.object({
    gpu: z.int().min(0),
    process_list: z.array(
      z.object({
        // "No running processes detected" in place of the first.
        process_info: z
          .object({ pid: z.int(), memory_usage: z.object({ vram_mem: quantity }).optional(), mem_usage: quantity })
          .or(absent),
      }),
    ),
  }),
);

type Identity = z.output<typeof identities>[number];

async function identify(run: RunTool): Promise<JsonAnswer<Identity[]>> {
  const full = await askForJson(run, tool, ["list", "-e"], identities);
  return full.kind === "silent" ? await askForJson(run, tool, ["list"], identities) : full;
}

/** The runtime may count otherwise than the tool: its number is the one that counts. */
function indexOf({ gpu, hip_id }: Identity): number {
  return hip_id ?? gpu;
}

async function list(run: RunTool): Promise<Listing> {
  const identified = await identify(run);
  if (identified.kind === "missing") return nothing;
  if (identified.kind === "silent") return { accelerators: [], reasons: [identified.reason] };
  const [named, measured] = await Promise.all([
    askForJson(run, tool, ["static", "--asic", "--vram"], models),
    askForJson(run, tool, ["metric", "--mem-usage"], metrics),
  ]);
  const model = byGpu(named);
  const memory = byGpu(measured);
  const accelerators = identified.value.map((identity): Accelerator => {
    const { asic, vram } = model.get(identity.gpu) ?? {};
    const { total_vram, used_vram } = memory.get(identity.gpu)?.mem_usage ?? {};
    return {
      kind: "rocm",
      index: indexOf(identity),
      uuid: isUnique(identity, identified.value) ? identity.hip_uuid : undefined,
      name: asic?.market_name ?? "AMD GPU",
      memoryBytes: total_vram ?? vram?.size,
      usedBytes: used_vram,
    };
  });
  return { accelerators: accelerators.sort((one, other) => one.index - other.index), reasons: [] };
}

/** The partitions of one GPU may share its uuid. */
function isUnique({ hip_uuid }: Identity, all: readonly Identity[]): boolean {
  return all.filter((other) => other.hip_uuid === hip_uuid).length === 1;
}

function byGpu<T extends { gpu: number }>(answer: JsonAnswer<T[]>): Map<number, T> {
  return new Map(answer.kind === "value" ? answer.value.map((entry) => [entry.gpu, entry]) : []);
}

async function processes(accelerators: readonly Accelerator[], run: RunTool): Promise<DeviceProcess[] | undefined> {
  const [identified, held] = await Promise.all([identify(run), askForJson(run, tool, ["process"], holders)]);
  if (identified.kind !== "value" || held.kind !== "value") return undefined;
  const wanted = new Set(accelerators.map(({ index }) => index));
  const gpus = new Set(identified.value.filter((identity) => wanted.has(indexOf(identity))).map(({ gpu }) => gpu));
  const found = held.value
    .filter(({ gpu }) => gpus.has(gpu))
    .flatMap(({ process_list }) => process_list)
    .flatMap(({ process_info: info }) =>
      info === undefined ? [] : [{ pid: info.pid, usedBytes: info.memory_usage?.vram_mem ?? info.mem_usage }],
    );
  return mergeProcesses(found.filter(({ usedBytes }) => usedBytes !== 0));
}
