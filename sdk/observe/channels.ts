import { type Channel, channel } from "node:diagnostics_channel";
import type { WorkerEvent } from "../../orchestrator/events.ts";
import type {
  RequestEnd,
  RequestFailure,
  RequestFirstToken,
  RequestObserver,
  RequestStart,
  RequestSubmit,
  RequestWarning,
} from "./observer.ts";

/**
 * The names of the channels of `node:diagnostics_channel`, and what each one carries. `glimpse:request:start` is published
 * inside the call of `stream()` or `generate()`, in its asynchronous context; each is followed by one `end` or `error`.
 * Prompts are not published; answers are, in `end`.
 */
export interface ChannelMessages {
  "glimpse:request:start": RequestStart;
  "glimpse:request:submit": RequestSubmit;
  "glimpse:request:first-token": RequestFirstToken;
  "glimpse:request:warning": RequestWarning;
  "glimpse:request:end": RequestEnd;
  "glimpse:request:error": RequestFailure;
  "glimpse:worker:state": WorkerEvent & { type: "state" };
  "glimpse:worker:loading": WorkerEvent & { type: "loading" };
  "glimpse:worker:log": WorkerEvent & { type: "log" };
  "glimpse:worker:lost": WorkerEvent & { type: "lost" };
  "glimpse:worker:restart": WorkerEvent & { type: "restart" };
  "glimpse:worker:memory-held": WorkerEvent & { type: "memory held" };
  "glimpse:worker:request": WorkerEvent & { type: "request" };
}

const named = <Message>(name: keyof ChannelMessages) => channel(name) as Channel<unknown, Message>;

const start = named<RequestStart>("glimpse:request:start");
const submit = named<RequestSubmit>("glimpse:request:submit");
const firstToken = named<RequestFirstToken>("glimpse:request:first-token");
const warning = named<RequestWarning>("glimpse:request:warning");
const end = named<RequestEnd>("glimpse:request:end");
const failure = named<RequestFailure>("glimpse:request:error");

export const publishRequests: RequestObserver = {
  started: (event) => start.publish(event),
  submitted: (event) => submit.publish(event),
  gotFirstToken: (event) => firstToken.publish(event),
  warned: (event) => warning.publish(event),
  finished: (event) => end.publish(event),
  failed: (event) => failure.publish(event),
};

const workers = {
  state: named<WorkerEvent>("glimpse:worker:state"),
  loading: named<WorkerEvent>("glimpse:worker:loading"),
  log: named<WorkerEvent>("glimpse:worker:log"),
  lost: named<WorkerEvent>("glimpse:worker:lost"),
  restart: named<WorkerEvent>("glimpse:worker:restart"),
  "memory held": named<WorkerEvent>("glimpse:worker:memory-held"),
  request: named<WorkerEvent>("glimpse:worker:request"),
} satisfies Record<WorkerEvent["type"], Channel<unknown, WorkerEvent>>;

export function publishWorkerEvent(event: WorkerEvent): void {
  workers[event.type].publish(event);
}
