import { z } from "zod";
import type { Accelerator, DeviceProcess } from "./accelerator.ts";
import { askForJson } from "./json-output.ts";
import { type DeviceTool, type Listing, nothing } from "./listing.ts";
import type { RunTool } from "./tool.ts";

const tool = "rocm-smi";

/** The older tool of AMD, for installations that have no amd-smi. */
export const rocmSmi: DeviceTool = { kind: "rocm", list, processes };

/** Sections "card0", "card1", "system"; every value is a text. The names of the fields changed case between versions. */
const sections = z.record(z.string(), z.record(z.string(), z.string()));

async function list(run: RunTool): Promise<Listing> {
  const args = ["--showid", "--showproductname", "--showuniqueid", "--showmeminfo", "vram"];
  const answer = await askForJson(run, tool, args, sections);
  if (answer.kind === "missing") return nothing;
  if (answer.kind === "silent") return { accelerators: [], reasons: [answer.reason] };
  const accelerators = Object.entries(answer.value).flatMap(([section, fields]): Accelerator[] => {
    const index = /^card(\d+)$/.exec(section)?.[1];
    if (index === undefined) return [];
    return [
      {
        kind: "rocm",
        index: Number(index),
        uuid: uuidOf(fields["Unique ID"]),
        name: fields["Card Series"] ?? fields["Card series"] ?? fields["Device Name"] ?? "AMD GPU",
        memoryBytes: bytes(fields["VRAM Total Memory (B)"]),
        usedBytes: bytes(fields["VRAM Total Used Memory (B)"]),
      },
    ];
  });
  const ids = accelerators.map(({ uuid }) => uuid);
  const repeated = new Set(ids.filter((uuid, position) => ids.indexOf(uuid) !== position));
  return {
    // The partitions of one GPU share its id.
    accelerators: accelerators.map((gpu) => (repeated.has(gpu.uuid) ? { ...gpu, uuid: undefined } : gpu)),
    reasons: [],
  };
}

/** The runtime's name of a GPU is its id in 16 digits. */
function uuidOf(id: string | undefined): string | undefined {
  const digits = /^0x([0-9a-f]{1,16})$/i.exec(id ?? "")?.[1];
  return digits === undefined || /^0+$/.test(digits) ? undefined : `GPU-${digits.toLowerCase().padStart(16, "0")}`;
}

function bytes(field: string | undefined): number | undefined {
  return field !== undefined && /^\d+$/.test(field) ? Number(field) : undefined;
}

/** Of every GPU of the machine: the tool does not say which process holds which. */
async function processes(_: readonly Accelerator[], run: RunTool): Promise<DeviceProcess[] | undefined> {
  const answer = await askForJson(run, tool, ["--showpids"], sections);
  if (answer.kind !== "value") return undefined;
  return Object.entries(answer.value["system"] ?? {}).flatMap(([key, text]) => {
    const pid = /^PID(\d+)$/.exec(key)?.[1];
    // "name, number of GPUs, VRAM, SDMA, compute units", and a name may hold commas.
    const used = bytes(text.split(", ").at(-3));
    return pid === undefined || used === 0 ? [] : [{ pid: Number(pid), usedBytes: used }];
  });
}
