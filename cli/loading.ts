import type { WorkerEvent } from "../sdk/index.ts";
import { isDebugging } from "./failure.ts";
import type { ProgressDisplay } from "./progress.ts";
import { print } from "./terminal.ts";

const titles = {
  import: "Starting Python",
  download: "Downloading the model",
  weights: "Loading the weights",
} as const;

/** Shows how far a launch is. Log lines of the workers are shown with GLIMPSE_DEBUG only. */
export function showLoading(display: ProgressDisplay): (event: WorkerEvent) => void {
  let stage: string | undefined;
  return (event) => {
    switch (event.type) {
      case "loading":
        // The model answers by then.
        if (event.stage === "graphs") return;
        if (event.stage !== stage) display.start(titles[event.stage]);
        stage = event.stage;
        return display.update(event);
      case "state":
        return event.state === "ready" ? display.clear() : undefined;
      case "log":
        if (isDebugging()) print(process.stderr, `[worker ${event.worker}] ${event.line}\n`);
        return;
      default:
        return event satisfies never;
    }
  };
}
