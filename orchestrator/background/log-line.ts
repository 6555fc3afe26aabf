import type { WorkerEvent } from "../events.ts";

/** An event in one line of the log; undefined for how far the loading is, which is of use only while it lasts. */
export function logLine(event: WorkerEvent): string | undefined {
  return event.type === "loading" ? undefined : `${event.worker} ${what(event)}`;
}

function what(event: Exclude<WorkerEvent, { type: "loading" }>): string {
  switch (event.type) {
    case "state":
      return `is ${event.state} (process ${event.generation})`;
    case "log":
      return `wrote to ${event.stream}: ${event.line}`;
    case "lost":
      return `was lost: ${event.report.message}`;
    case "restart":
      return `starts again in ${event.inMs} ms, after ${event.failures} failures`;
    case "memory held":
      return `waits for the memory of ${event.device}, which is held by ${event.processes.join(", ") || "nobody known"}`;
    case "request":
      return `had request ${event.request} on board, which is ${event.outcome} after ${event.tokens} tokens`;
    default:
      return event satisfies never;
  }
}
