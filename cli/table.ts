import type { WorkerInfo } from "../sdk/index.ts";
import { size } from "./terminal.ts";

const columns = [
  "worker",
  "pid",
  "generation",
  "state",
  "device",
  "model",
  "requests",
  "tokens",
  "memory",
  "versions",
] as const;

/** The workers, one a line under a line of titles. */
export function workerTable(workers: readonly WorkerInfo[]): string {
  const rows = [columns, ...workers.map(cells)];
  const widths = columns.map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)));
  return rows
    .map(
      (row) =>
        `${row
          .map((cell, at) => cell.padEnd(widths[at] ?? 0))
          .join("  ")
          .trimEnd()}\n`,
    )
    .join("");
}

function cells({ id, pid, generation, state, placement, device, model, load, heartbeat, versions }: WorkerInfo) {
  return [
    id,
    pid === undefined ? "-" : String(pid),
    String(generation),
    state,
    device === undefined ? placement : `${placement} (${device.name})`,
    model ?? "-",
    String(load.requests),
    String(Math.round(load.tokens)),
    memory(heartbeat),
    named(versions),
  ];
}

/** Of the device where it is a GPU, else of the process. */
function memory(heartbeat: WorkerInfo["heartbeat"]): string {
  if (heartbeat === undefined) return "-";
  const { process, used, total } = heartbeat.memory;
  if (used === undefined) return size(process);
  return total === undefined ? size(used) : `${size(used)} of ${size(total)}`;
}

function named(versions: WorkerInfo["versions"]): string {
  const shown = Object.entries(versions ?? {}).filter(([name]) => ["python", "torch", "transformers"].includes(name));
  return shown.length === 0 ? "-" : shown.map(([name, version]) => `${name} ${version}`).join(", ");
}
