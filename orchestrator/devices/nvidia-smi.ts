import { type Accelerator, type DeviceProcess, GIB, MIB } from "./accelerator.ts";
import { type DeviceTool, firstLine, type Listing, mergeProcesses, nothing } from "./listing.ts";
import type { RunTool } from "./tool.ts";

const tool = "nvidia-smi";
const asCsv = "--format=csv,noheader,nounits";

export const nvidiaSmi: DeviceTool = { kind: "cuda", list, processes };

async function list(run: RunTool): Promise<Listing> {
  const answer = await run(tool, ["--query-gpu=index,uuid,name,memory.total,memory.used", asCsv]);
  if (answer.kind === "missing") return nothing;
  if (answer.kind === "silent") return { accelerators: [], reasons: [answer.reason] };
  const rows = answer.output.split(/\r?\n/).flatMap(parseRow);
  // A lost GPU makes the tool fail, with or without the lines of the others.
  if (rows.length === 0) {
    return { accelerators: [], reasons: [`${tool} (exit code ${answer.exitCode}): ${firstLine(answer.output)}`] };
  }
  const parts = await listParts(run);
  const working = rows.filter((row) => row.fault === undefined);
  return {
    accelerators: working.flatMap(({ gpu }) => parts.get(gpu.uuid ?? "")?.map((part) => ({ ...gpu, ...part })) ?? gpu),
    reasons: rows.flatMap(({ gpu, fault }) => (fault === undefined ? [] : `${tool}: GPU ${gpu.index}: ${fault}`)),
  };
}

interface Row {
  gpu: Accelerator;
  fault: string | undefined;
}

function parseRow(line: string): Row[] {
  const fields = line.split(",").map((field) => field.trim());
  const [index = "", uuid = "", name = "", total = "", used = ""] = fields;
  if (fields.length !== 5 || !/^\d+$/.test(index)) return [];
  const fault = fields.map((field) => /^\[(GPU is lost|GPU requires reset)\]$/.exec(field)?.[1]).find(Boolean);
  const gpu: Accelerator = {
    kind: "cuda",
    index: Number(index),
    uuid: uuid.startsWith("GPU-") ? uuid : undefined,
    name,
    memoryBytes: mebibytes(total),
    usedBytes: mebibytes(used),
  };
  return [{ gpu, fault }];
}

/** Undefined for [N/A], [Not Supported], [Insufficient Permissions] and their like. */
function mebibytes(field: string): number | undefined {
  return /^\d+$/.test(field) ? Number(field) * MIB : undefined;
}

type Part = Pick<Accelerator, "uuid" | "name" | "memoryBytes" | "usedBytes">;

/** The parts of each GPU that MIG divides, by the GPU's uuid. Their size is the one in the profile's name. */
async function listParts(run: RunTool): Promise<Map<string, Part[]>> {
  const parts = new Map<string, Part[]>();
  const answer = await run(tool, ["-L"]);
  if (answer.kind !== "answered") return parts;
  let gpu = { uuid: "", name: "" };
  for (const line of answer.output.split(/\r?\n/)) {
    const [, whole, owner] = /^GPU \d+: (.*) \(UUID: (GPU-[^)]+)\)/.exec(line) ?? [];
    if (whole !== undefined && owner !== undefined) gpu = { uuid: owner, name: whole };
    const [, profile, size, uuid] = /^\s*MIG (\S*?(\d+)gb\S*)\s.*\(UUID: (MIG-[^)]+)\)/.exec(line) ?? [];
    if (profile === undefined) continue;
    const part = { uuid, name: `${gpu.name} MIG ${profile}`, memoryBytes: Number(size) * GIB, usedBytes: undefined };
    parts.set(gpu.uuid, [...(parts.get(gpu.uuid) ?? []), part]);
  }
  return parts;
}

/** Of a part that MIG divided: those of the whole GPU. */
async function processes(accelerators: readonly Accelerator[], run: RunTool): Promise<DeviceProcess[] | undefined> {
  const indices = new Set(accelerators.map(({ index }) => index));
  const answer = await run(tool, [
    `--id=${[...indices].join(",")}`,
    "--query-compute-apps=gpu_uuid,pid,used_memory",
    asCsv,
  ]);
  if (answer.kind !== "answered" || answer.exitCode !== 0) return undefined;
  return mergeProcesses(
    answer.output.split(/\r?\n/).flatMap((line) => {
      const [, pid = "", used = ""] = line.split(",").map((field) => field.trim());
      return /^\d+$/.test(pid) ? [{ pid: Number(pid), usedBytes: mebibytes(used) }] : [];
    }),
  );
}
