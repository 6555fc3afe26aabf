import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import type { RunTool } from "../../orchestrator/devices/tool.ts";

const fixtures = join(import.meta.dirname, "fixtures");

/** Which recording a call gets. */
function recordingOf(tool: string, args: readonly string[]): string {
  const call = args.join(" ");
  switch (tool) {
    case "nvidia-smi":
      if (call === "-L") return "nvidia-smi.list.txt";
      return call.includes("--query-compute-apps=gpu_uuid,pid,used_memory")
        ? "nvidia-smi.processes.txt"
        : "nvidia-smi.gpus.txt";
    case "amd-smi":
      return `amd-smi.${call.startsWith("list -e") ? "list-e" : args[0]}.txt`;
    default:
      return `rocm-smi.${call.includes("--showpids") ? "pids" : "gpus"}.txt`;
  }
}

/** The tools of a recorded machine. What it was not asked when it was recorded, it does not know. */
export function recordedTools(machine: string, exitCode = 0): RunTool {
  const directory = join(fixtures, machine);
  const installed = new Set(readdirSync(directory).map((file) => file.split(".")[0]));
  return async (tool, args) => {
    if (!installed.has(tool)) return { kind: "missing" };
    const file = join(directory, recordingOf(tool, args));
    if (!existsSync(file)) return { kind: "answered", exitCode: 2, output: "error: unrecognized arguments" };
    return { kind: "answered", exitCode, output: readFileSync(file, "utf8") };
  };
}
