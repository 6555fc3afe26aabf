import { type Accelerator, type DeviceProcess, GIB } from "./accelerator.ts";
import { amdSmi } from "./amd-smi.ts";
import { type DeviceTool, type Listing, mergeProcesses } from "./listing.ts";
import { nvidiaSmi } from "./nvidia-smi.ts";
import { rocmSmi } from "./rocm-smi.ts";
import { type RunTool, runTool } from "./tool.ts";
import { visibleAccelerators } from "./visible.ts";

const tools: readonly DeviceTool[] = [nvidiaSmi, amdSmi, rocmSmi];

/** Graphics that are part of a processor come with less of their own: no model fits, and the GPUs are meant. */
const SMALLEST_BYTES = GIB;

/**
 * The GPUs that workers may use, in the order in which torch counts them: `accelerators[1]` is `cuda:1`. Asks nvidia-smi,
 * amd-smi and rocm-smi in this order, and believes the first that lists a GPU. Left out: GPUs that
 * CUDA_VISIBLE_DEVICES, HIP_VISIBLE_DEVICES or ROCR_VISIBLE_DEVICES of `env` hide, lost ones, and those with less than
 * 1 GiB. A GPU that MIG divides is listed as its parts.
 *
 * [] when there is none or no tool answers; never rejects. A call of a tool is given up after 10 s.
 */
export async function discoverAccelerators(run: RunTool = runTool, env = process.env): Promise<Accelerator[]> {
  return (await discover(run, env)).accelerators;
}

/** As `discoverAccelerators`, with the reasons, for people, why a tool that is installed did not list a GPU. */
export async function discover(run: RunTool = runTool, env = process.env): Promise<Listing> {
  const { accelerators, reasons } = await listAll(run);
  const [first] = accelerators;
  if (first === undefined) return { accelerators, reasons };
  return { accelerators: visibleAccelerators(accelerators, first.kind, env).filter(isLargeEnough), reasons };
}

/** What the first tool that lists a GPU says, whatever the environment hides. */
export async function listAll(run: RunTool): Promise<Listing> {
  const reasons: string[] = [];
  for (const tool of tools) {
    const listing = await tool.list(run);
    reasons.push(...listing.reasons);
    if (listing.accelerators.length > 0) return { accelerators: listing.accelerators, reasons };
  }
  return { accelerators: [], reasons };
}

function isLargeEnough({ memoryBytes }: Accelerator): boolean {
  return memoryBytes === undefined || memoryBytes >= SMALLEST_BYTES;
}

/**
 * The processes that hold memory of these accelerators, each once, with what it holds of all of them together. [] when no
 * tool can say. In a container the pids are the host's, or the list is empty: trust it to name a culprit, not to prove
 * that there is none.
 */
export async function processesOn(
  accelerators: readonly Accelerator[],
  run: RunTool = runTool,
): Promise<DeviceProcess[]> {
  const found = await Promise.all(
    (["cuda", "rocm"] as const).map((kind) =>
      processesOfKind(
        kind,
        accelerators.filter((accelerator) => accelerator.kind === kind),
        run,
      ),
    ),
  );
  return mergeProcesses(found.flat());
}

async function processesOfKind(kind: Accelerator["kind"], accelerators: readonly Accelerator[], run: RunTool) {
  if (accelerators.length === 0) return [];
  for (const tool of tools) {
    if (tool.kind !== kind) continue;
    const found = await tool.processes(accelerators, run);
    if (found !== undefined) return found;
  }
  return [];
}
