import { GlimpseError } from "../protocol/errors.ts";
import type { DataFromWorker } from "../protocol/messages.ts";
import { Dispatcher } from "./dispatcher.ts";
import type { CrashReport, WorkerEvent, WorkerInfo } from "./events.ts";
import { type FailoverPolicy, fateOf } from "./failover.ts";
import { Request } from "./request.ts";
import { estimateCost } from "./requests/cost.ts";
import { EndingRate } from "./requests/queue.ts";
import { Slot, type SlotOptions } from "./slot.ts";
import { Subscribers } from "./subscribers.ts";
import type { RequestEvent, Submission, SubmittedRequest, Transport } from "./transport.ts";

export interface PoolOptions extends FailoverPolicy {
  slots: readonly Omit<SlotOptions, "limits">[];
  limits: SlotOptions["limits"];
  queueLimit: number;
}

/** The workers of one machine and the requests that wait for them. */
export class Pool implements Transport {
  readonly #options: PoolOptions;
  readonly #slots: readonly Slot[];
  readonly #dispatcher: Dispatcher;
  readonly #subscribers = new Subscribers();
  readonly #endings = new EndingRate();
  readonly #drained: (() => void)[] = [];
  #requests = 0;
  /** Taken, and not yet where they wait. */
  #arriving = 0;
  #draining = false;
  #restarting: Promise<void> | undefined;
  /** Why no request is taken any more. */
  #ended: GlimpseError | undefined;

  constructor(options: PoolOptions) {
    this.#options = options;
    this.#slots = options.slots.map(
      (slot) =>
        new Slot(
          { ...slot, limits: options.limits },
          {
            onEvent: (event) => this.#subscribers.tell(event),
            onData: (from, message) => this.#onData(from, message),
            onRoom: () => this.#dispatcher.dispatchSoon(),
            onLost: (requests, report) => this.#onLost(requests, report),
            onFailed: (error) => this.#onFailed(error),
          },
        ),
    );
    this.#dispatcher = new Dispatcher(this.#slots, options.queueLimit, () => this.#checkDrained());
  }

  /** Resolves when every worker is ready; rejects with the reason of the first that will not be. */
  async start(): Promise<void> {
    await Promise.all(this.#slots.map((slot) => slot.start()));
  }

  submit(submission: Submission, onEvent: (event: RequestEvent) => void): SubmittedRequest {
    const ready = this.#slots.find((slot) => slot.readyMessage !== undefined)?.readyMessage;
    const place = { sequence: this.#requests++, cost: estimateCost(submission, ready) };
    const request = new Request(submission, place, onEvent, { release: (released) => this.#release(released) });
    const refusal = this.#refusal();
    this.#arriving += 1;
    // Events come from the event loop, so that the caller holds the request before the first of them.
    setImmediate(() => {
      this.#arriving -= 1;
      this.#accept(request, refusal);
      this.#checkDrained();
    });
    return request;
  }

  workers(): WorkerInfo[] {
    return this.#slots.map((slot) => slot.info());
  }

  subscribe(listener: (event: WorkerEvent) => void): () => void {
    return this.#subscribers.add(listener);
  }

  drain(): Promise<void> {
    this.#draining = true;
    return new Promise((resolve) => {
      this.#drained.push(resolve);
      this.#checkDrained();
    });
  }

  restart(): Promise<void> {
    if (this.#ended !== undefined) return Promise.reject(this.#ended);
    this.#restarting ??= this.#replaceAll().finally(() => {
      this.#restarting = undefined;
    });
    return this.#restarting;
  }

  async close(): Promise<void> {
    const disposed = new GlimpseError("DISPOSED", "the client was closed", { hint: "launch() starts a new one." });
    this.#end(disposed);
    this.#ended = disposed;
    await Promise.all(this.#slots.map((slot) => slot.close()));
  }

  async #replaceAll(): Promise<void> {
    for (const slot of this.#slots) await slot.replace();
  }

  /** Why a request that comes now is not taken. */
  #refusal(): GlimpseError | undefined {
    if (this.#ended !== undefined || !this.#draining) return this.#ended;
    const hint = "launch() starts a new one.";
    return new GlimpseError("DISPOSED", "the client takes no more requests: it is draining", { hint });
  }

  #accept(request: Request, refusal: GlimpseError | undefined): void {
    if (request.state === "ended") return;
    const error = refusal ?? this.#ended;
    if (error !== undefined) return request.fail(error);
    if (this.#dispatcher.admit(request) === "full") request.fail(this.#queueFull());
  }

  #queueFull(): GlimpseError {
    const { length } = this.#dispatcher;
    const retryAfterMs = Math.round(this.#endings.retryAfterMs(length, performance.now()));
    const { queueLimit } = this.#options;
    return new GlimpseError("QUEUE_FULL", `${length} requests wait, and queueLimit is ${queueLimit}`, {
      hint: `Send it again in about ${retryAfterMs} ms, or launch with a larger queueLimit.`,
      retryAfterMs,
    });
  }

  #release(request: Request): void {
    if (request.state === "on board") this.#slots.find((slot) => slot.board.has(request))?.cancel(request);
    else this.#dispatcher.remove(request);
  }

  #onData(slot: Slot, message: DataFromWorker): void {
    switch (message.type) {
      case "tokens":
        for (const item of message.items) slot.board.find(item)?.tokens(item);
        return;
      case "prepared":
        slot.board.find(message)?.prepared(message);
        slot.board.prepared(message);
        return this.#dispatcher.dispatchSoon();
      case "warning":
        return slot.board.find(message)?.warning(message);
      case "done":
        return this.#leave(slot, message, (request) => request.done(message, slot.info()));
      case "counted":
        return this.#leave(slot, message, (request) => request.counted(message));
      case "error": {
        const error = new GlimpseError(message.code, message.message, message);
        return this.#leave(slot, message, (request) => request.fail(error, message.media));
      }
      default:
        return message satisfies never;
    }
  }

  #leave(slot: Slot, key: { request: string; attempt: number }, end: (request: Request) => void): void {
    const request = slot.board.find(key);
    if (request === undefined) return;
    slot.board.leave(request.id);
    end(request);
    this.#endings.ended(performance.now());
    slot.left();
    this.#dispatcher.dispatch();
  }

  /** What is told comes last: who hears of it may close the pool, and that ends what has its place again. */
  #onLost(requests: readonly Request[], report: CrashReport): void {
    const told: WorkerEvent[] = [];
    for (const request of requests) {
      const fate = fateOf(request, report, requests.length === 1, this.#options);
      const tell = (outcome: (WorkerEvent & { type: "request" })["outcome"]): void => {
        const { id, tokenCount: tokens } = request;
        told.push({ type: "request", request: id, worker: report.worker, outcome, tokens });
      };
      if (this.#ended !== undefined) request.fail(this.#ended);
      else if (fate.kind === "fails") {
        tell(fate.outcome);
        request.fail(fate.error);
      } else if (fate.kind === "goes on") {
        if (fate.suspected) tell("suspected");
        tell(fate.continuation === "after the tokens" ? "resumed" : "restarted");
        request.giveBack(fate.continuation);
        this.#dispatcher.giveBack(request);
      }
    }
    for (const event of told) this.#subscribers.tell(event);
    this.#checkDrained();
  }

  #onFailed(error: GlimpseError): void {
    if (this.#slots.every((slot) => slot.state === "failed")) this.#end(error);
  }

  /** Gives every request that has none its ending. */
  #end(error: GlimpseError): void {
    if (this.#ended !== undefined) return;
    this.#ended = error;
    const onBoard = this.#slots.flatMap((slot) => slot.board.requests());
    for (const request of [...onBoard, ...this.#dispatcher.clear()]) request.fail(error);
    this.#checkDrained();
  }

  #checkDrained(): void {
    if (!this.#draining || this.#arriving > 0) return;
    const idle =
      this.#ended !== undefined || (this.#dispatcher.length === 0 && this.#slots.every(({ board }) => board.isEmpty));
    if (idle) for (const resolve of this.#drained.splice(0)) resolve();
  }
}
