import type { Accelerator, DeviceProcess } from "./accelerator.ts";
import type { RunTool } from "./tool.ts";

/** What a vendor's tools say of the whole machine. */
export interface Listing {
  accelerators: Accelerator[];
  /** Why something is not in the list: the tool's own words, for people. A tool that is not installed says nothing. */
  reasons: string[];
}

/** One vendor's tool. Neither function rejects; what the tool does not say is absent. */
export interface DeviceTool {
  kind: Accelerator["kind"];
  list(run: RunTool): Promise<Listing>;
  /** Undefined when the tool cannot say. `accelerators` are of this kind, at least one. */
  processes(accelerators: readonly Accelerator[], run: RunTool): Promise<DeviceProcess[] | undefined>;
}

export const nothing: Listing = { accelerators: [], reasons: [] };

/** One entry per pid; a process may hold memory of several devices. */
export function mergeProcesses(processes: readonly DeviceProcess[]): DeviceProcess[] {
  const merged = new Map<number, DeviceProcess>();
  for (const { pid, usedBytes } of processes) {
    const known = merged.get(pid);
    const bytes = known?.usedBytes === undefined ? usedBytes : known.usedBytes + (usedBytes ?? 0);
    merged.set(pid, { pid, usedBytes: bytes });
  }
  return [...merged.values()];
}

/** The first line that says something, for a reason. */
export function firstLine(output: string): string {
  return (
    output
      .split(/\r?\n/)
      .find((line) => line.trim() !== "")
      ?.trim() ?? "no output"
  );
}
