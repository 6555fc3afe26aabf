import type { WorkerEvent } from "../sdk/index.ts";
import { isDebugging } from "./failure.ts";
import type { ProgressDisplay } from "./progress.ts";
import { print } from "./terminal.ts";

const titles = {
  import: "Starting Python",
  download: "Downloading the model",
  weights: "Loading the weights",
} as const;

/**
 * Shows how far a launch is: of several workers the one that loads its weights first stands for all. Losses are shown as
 * they come, but for those while it loads, which end the launch with the same words; log lines of the workers with GLIMPSE_DEBUG only.
 */
export function showLoading(display: ProgressDisplay): (event: WorkerEvent) => void {
  let stage: string | undefined;
  let shown: string | undefined;
  return (event) => {
    switch (event.type) {
      case "loading":
        shown ??= event.worker;
        // The model answers by then.
        if (event.stage === "graphs" || event.worker !== shown) return;
        if (event.stage !== stage) display.start(titles[event.stage]);
        stage = event.stage;
        return display.update(event);
      case "state":
        return event.state === "ready" ? display.clear() : undefined;
      case "lost":
        display.clear();
        if (event.report.state === "starting" || event.report.state === "loading") return;
        return print(process.stderr, `${event.report.message}\n`);
      case "memory held": {
        const pids = event.processes.join(", ");
        return print(process.stderr, `memory of ${event.device} has not come back; held by process ${pids}\n`);
      }
      case "restart":
      case "request":
        return;
      case "log":
        if (isDebugging()) print(process.stderr, `[worker ${event.worker}] ${event.line}\n`);
        return;
      default:
        return event satisfies never;
    }
  };
}
