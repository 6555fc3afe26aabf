import type { WorkerEvent } from "../../orchestrator/events.ts";
import { errorCodes } from "../../protocol/errors.ts";
import { publishWorkerEvent } from "./channels.ts";
import type { Log } from "./logger.ts";
import type { RequestObserver } from "./observer.ts";

/** Requests as lines of the log. Neither prompts nor answers are written. */
export function logRequests(log: Log): RequestObserver {
  return {
    started: ({ requestId }) => log("debug", "request started", { requestId }),
    submitted: ({ requestId, pictures, bytes }) => log("debug", "request sent", { requestId, pictures, bytes }),
    gotFirstToken: ({ requestId, firstTokenMs }) => log("debug", "first token", { requestId, firstTokenMs }),
    warned: ({ requestId, warning }) => log("warn", warning.message, { requestId, code: warning.code }),
    finished: ({ requestId, result }) => {
      const { finishReason, usage, timing, resumed, worker } = result;
      log("info", "request ended", { requestId, finishReason, usage, timing, resumed, worker: worker?.id });
    },
    failed: ({ requestId, error }) => {
      const { code, hint } = error;
      // What a schema says of an answer may repeat parts of it.
      const message = code === "OUTPUT_INVALID" ? errorCodes[code].meaning : error.message;
      // The caller asked for an end, and knows.
      log(code === "ABORTED" ? "info" : "error", `request failed: ${message}`, { requestId, code, hint });
    },
  };
}

/** Those who are told whatever the caller wants to hear: the channels, and the log if there is one. */
export function workerListeners(log: Log | undefined): ((event: WorkerEvent) => void)[] {
  return log === undefined ? [publishWorkerEvent] : [publishWorkerEvent, (event) => logWorkerEvent(log, event)];
}

function logWorkerEvent(log: Log, event: WorkerEvent): void {
  const { worker } = event;
  switch (event.type) {
    case "state":
      return log(event.state === "failed" ? "error" : "info", `worker is ${event.state}`, rest(event));
    case "loading":
      return log("debug", `worker is loading: ${event.stage}`, rest(event));
    case "log":
      return log("debug", event.line, { worker, stream: event.stream });
    case "lost":
      return log("error", `worker was lost: ${event.report.message}`, event.report);
    case "restart":
      return log("warn", `worker starts again in ${Math.round(event.inMs)} ms`, rest(event));
    case "memory held":
      return log("warn", "memory of the lost worker has not come back", rest(event));
    case "request":
      return log("warn", `request was ${event.outcome} after its worker was lost`, rest(event));
    default:
      return event satisfies never;
  }
}

function rest({ type: _, ...details }: WorkerEvent): object {
  return details;
}
