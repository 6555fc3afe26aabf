import type { Socket } from "node:net";
import type { Part } from "../../protocol/messages.ts";
import type { WorkerEvent } from "../events.ts";
import type { RequestEvent } from "../transport.ts";
import { toBytes } from "./frames.ts";
import { eventMessage } from "./wire-events.ts";

/** Worker events that wait for a client which does not read; the oldest give way. */
const MAX_WAITING_WORKER_EVENTS = 200;

type WaitingEvent = Exclude<RequestEvent, { type: "tokens" }> | { type: "tokens"; ids: number[]; parts: Part[] };

/**
 * Writes to one client. While the client does not read, nothing is written: what waits is joined per request, so that
 * it is bounded by the text of the requests, however many tokens come.
 */
export class Outbox {
  readonly #socket: Socket;
  #blocked = false;
  #corked = false;
  /** In order of the first event that waits. */
  readonly #events = new Map<string, WaitingEvent[]>();
  #workers: object | undefined;
  readonly #workerEvents: WorkerEvent[] = [];

  constructor(socket: Socket) {
    this.#socket = socket;
    socket.on("drain", () => this.#flush(false));
  }

  /** How many requests have events that wait. */
  get waiting(): number {
    return this.#events.size;
  }

  /** Writes what is rare, and small. */
  send(message: object): void {
    if (this.#socket.destroyed || this.#socket.writableEnded) return;
    // One system call for all that one turn of the event loop has to say.
    if (!this.#corked) {
      this.#corked = true;
      this.#socket.cork();
      process.nextTick(() => {
        this.#corked = false;
        this.#socket.uncork();
      });
    }
    for (const bytes of toBytes(message)) this.#blocked = !this.#socket.write(bytes) || this.#blocked;
  }

  event(request: string, event: RequestEvent): void {
    if (!this.#blocked) return this.send(eventMessage(request, event));
    const waiting = this.#events.get(request) ?? [];
    append(waiting, event);
    this.#events.set(request, waiting);
  }

  /** The present state of the workers: of those that wait, the newest counts. */
  workers(message: object): void {
    if (!this.#blocked) return this.send(message);
    this.#workers = message;
  }

  workerEvent(event: WorkerEvent): void {
    if (!this.#blocked) return this.send({ type: "worker event", event });
    if (this.#workerEvents.push(event) > MAX_WAITING_WORKER_EVENTS) this.#workerEvents.shift();
  }

  /** Writes all that waits, whether or not the client reads, and `message` as the last. */
  finish(message: object): void {
    this.#flush(true);
    this.send(message);
  }

  #flush(all: boolean): void {
    this.#blocked = false;
    for (const [request, events] of this.#events) {
      for (let event = events.shift(); event !== undefined; event = events.shift()) {
        this.send(eventMessage(request, event));
        if (this.#blocked && !all) break;
      }
      if (events.length === 0) this.#events.delete(request);
      if (this.#blocked && !all) return;
    }
    for (let event = this.#workerEvents.shift(); event !== undefined; event = this.#workerEvents.shift()) {
      this.send({ type: "worker event", event });
      if (this.#blocked && !all) return;
    }
    const workers = this.#workers;
    this.#workers = undefined;
    if (workers !== undefined) this.send(workers);
  }
}

/** Adds an event to those that wait; neighbours become one where nothing is lost by it. */
function append(waiting: WaitingEvent[], event: RequestEvent): void {
  const last = waiting.at(-1);
  if (event.type === "queued" && last?.type === "queued") {
    waiting[waiting.length - 1] = event;
  } else if (event.type !== "tokens") {
    waiting.push(event);
  } else {
    const tokens = last?.type === "tokens" ? last : { type: event.type, ids: [], parts: [] };
    if (tokens !== last) waiting.push(tokens);
    tokens.ids.push(...event.ids);
    for (const part of event.parts) appendPart(tokens.parts, part);
  }
}

function appendPart(parts: Part[], part: Part): void {
  const last = parts.at(-1);
  if (last === undefined || last.kind !== part.kind || last.kind === "box" || part.kind === "box") {
    parts.push(part);
  } else {
    parts[parts.length - 1] = { kind: last.kind, text: last.text + part.text };
  }
}
