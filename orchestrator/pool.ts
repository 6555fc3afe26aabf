import { GlimpseError } from "../protocol/errors.ts";
import type { DataFromWorker } from "../protocol/messages.ts";
import { lostWorker, poisonRequest } from "./crash-report.ts";
import type { CrashReport, WorkerEvent, WorkerInfo } from "./events.ts";
import { type Continuation, Request } from "./request.ts";
import { affinityKeys } from "./requests/affinity.ts";
import { estimateCost } from "./requests/cost.ts";
import { EndingRate, RequestQueue } from "./requests/queue.ts";
import { type Candidate, route } from "./requests/route.ts";
import { Slot, type SlotOptions } from "./slot.ts";
import { Subscribers } from "./subscribers.ts";
import type { RequestEvent, Submission, SubmittedRequest, Transport } from "./transport.ts";

export type OnWorkerLoss = "resume" | "restart" | "fail";

export interface PoolOptions {
  slots: readonly Omit<SlotOptions, "limits">[];
  limits: SlotOptions["limits"];
  onWorkerLoss: OnWorkerLoss;
  /** Whether a worker can go on after the tokens of another. */
  canResume: boolean;
  queueLimit: number;
}

/** The workers of one machine and the requests that wait for them. */
export class Pool implements Transport {
  readonly #options: PoolOptions;
  readonly #slots: readonly Slot[];
  readonly #queue: RequestQueue<Request>;
  readonly #subscribers = new Subscribers();
  readonly #endings = new EndingRate();
  readonly #drained: (() => void)[] = [];
  #requests = 0;
  /** Gets nothing more until it is empty, for a request that must have it for itself. */
  #reserved: Slot | undefined;
  #draining = false;
  #restarting: Promise<void> | undefined;
  #dispatching = false;
  /** Why no request is taken any more. */
  #ended: GlimpseError | undefined;

  constructor(options: PoolOptions) {
    this.#options = options;
    this.#queue = new RequestQueue(options.queueLimit);
    this.#slots = options.slots.map(
      (slot) =>
        new Slot(
          { ...slot, limits: options.limits },
          {
            onEvent: (event) => this.#subscribers.tell(event),
            onData: (from, message) => this.#onData(from, message),
            onRoom: () => this.#dispatchSoon(),
            onLost: (requests, report) => this.#onLost(requests, report),
            onFailed: (_, error) => this.#onFailed(error),
          },
        ),
    );
  }

  /** Resolves when every worker is ready; rejects with the reason of the first that will not be. */
  async start(): Promise<void> {
    await Promise.all(this.#slots.map((slot) => slot.start()));
  }

  submit(submission: Submission, onEvent: (event: RequestEvent) => void): SubmittedRequest {
    const ready = this.#slots.find((slot) => slot.readyMessage !== undefined)?.readyMessage;
    const place = { sequence: this.#requests++, cost: estimateCost(submission, ready) };
    const request = new Request(submission, place, onEvent, { release: (released) => this.#release(released) });
    // Events come from the event loop, so that the caller holds the request before the first of them.
    setImmediate(() => this.#accept(request));
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

  #accept(request: Request): void {
    if (request.state === "ended") return;
    if (this.#ended !== undefined) return request.fail(this.#ended);
    if (this.#draining) {
      const hint = "launch() starts a new one.";
      return request.fail(new GlimpseError("DISPOSED", "the client takes no more requests: it is draining", { hint }));
    }
    if (this.#queue.admit(request) === "full") return request.fail(this.#queueFull());
    this.#dispatch();
  }

  #queueFull(): GlimpseError {
    const retryAfterMs = Math.round(this.#endings.retryAfterMs(this.#queue.length, performance.now()));
    const { queueLimit } = this.#options;
    return new GlimpseError("QUEUE_FULL", `${this.#queue.length} requests wait, and queueLimit is ${queueLimit}`, {
      hint: `Send it again in about ${retryAfterMs} ms, or launch with a larger queueLimit.`,
      retryAfterMs,
    });
  }

  /** Once per turn of the event loop, for what comes in numbers. */
  #dispatchSoon(): void {
    if (this.#dispatching) return;
    this.#dispatching = true;
    setImmediate(() => {
      this.#dispatching = false;
      this.#dispatch();
    });
  }

  #dispatch(): void {
    for (const request of this.#queue) {
      // In the order of their acceptance; only who waits for a worker of its own is overtaken.
      if (!this.#tryToBoard(request) && !request.alone) break;
    }
    this.#tellPlaces();
    this.#checkDrained();
  }

  #tryToBoard(request: Request): boolean {
    const slot = this.#slotFor(request);
    if (slot === undefined) return false;
    this.#queue.remove(request);
    if (request.alone) this.#reserved = undefined;
    try {
      slot.take(request, this.#keys(request));
    } catch (error) {
      if (!GlimpseError.is(error)) throw error;
      request.fail(error);
    }
    return true;
  }

  #slotFor(request: Request): Slot | undefined {
    const { alone, cost } = request;
    const open = this.#slots.filter((slot) => alone || slot !== this.#reserved);
    const candidates = open.map((slot) => slot.candidate(this.#keys(request))).filter((slot) => slot !== undefined);
    const id = route({ tokens: cost.promptTokens, mediaBytes: cost.mediaBytes, alone }, candidates);
    if (id === undefined && alone) this.#reserve(candidates);
    return this.#slots.find((slot) => slot.id === id);
  }

  /** The worker that will be empty first, and the same one until it is. */
  #reserve(candidates: readonly Candidate[]): void {
    if (candidates.some(({ id }) => id === this.#reserved?.id)) return;
    const [least] = [...candidates].sort((one, other) => one.outstanding - other.outstanding);
    this.#reserved = this.#slots.find((slot) => slot.id === least?.id);
  }

  #keys(request: Request): readonly string[] {
    return this.#slots.length === 1 ? [] : affinityKeys(request.submission);
  }

  /** Once per turn of the event loop, however many requests come or leave in it: each of them moves all that wait. */
  #placesChanged = false;
  #tellPlaces(): void {
    if (this.#placesChanged || this.#queue.length === 0) return;
    this.#placesChanged = true;
    setImmediate(() => {
      this.#placesChanged = false;
      let position = this.#slots.reduce((sum, slot) => sum + slot.board.size, 0);
      for (const request of this.#queue) request.moveTo(position++);
    });
  }

  #release(request: Request): void {
    if (request.state === "on board") {
      this.#slots.find((slot) => slot.board.has(request))?.cancel(request);
      return;
    }
    this.#queue.remove(request);
    this.#dispatch();
  }

  #onData(slot: Slot, message: DataFromWorker): void {
    switch (message.type) {
      case "tokens":
        for (const item of message.items) slot.board.find(item)?.tokens(item);
        return;
      case "prepared":
        slot.board.find(message)?.prepared(message);
        slot.board.prepared(message.request, message.promptTokens);
        return this.#dispatchSoon();
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
    this.#dispatch();
  }

  #onLost(requests: readonly Request[], report: CrashReport): void {
    const alone = requests.length === 1;
    const outside = report.cause === "silent" || isSignalOfOthers(report);
    for (const request of requests) {
      const wasSuspect = request.alone;
      const verdict = request.lost({ alone, outside });
      if (request.state === "ended" || this.#ended !== undefined) continue;
      const tell = (outcome: (WorkerEvent & { type: "request" })["outcome"]): void => {
        const { id, tokenCount } = request;
        this.#subscribers.tell({ type: "request", request: id, worker: report.worker, outcome, tokens: tokenCount });
      };
      if (verdict === "quarantine") {
        tell("quarantined");
        request.fail(poisonRequest(report, request.losses));
        continue;
      }
      const continuation = this.#continuation(request);
      if ("cannot" in continuation) {
        tell("failed");
        request.fail(lostWorker(report, continuation.cannot));
        continue;
      }
      if (verdict === "alone" && !wasSuspect) tell("suspected");
      tell(continuation.how === "after the tokens" ? "resumed" : "restarted");
      request.giveBack(continuation.how);
      this.#queue.giveBack(request);
    }
    this.#dispatchSoon();
  }

  #continuation(request: Request): { how: Continuation } | { cannot: string } {
    const { onWorkerLoss, canResume } = this.#options;
    if (onWorkerLoss === "fail") return { cannot: 'onWorkerLoss is "fail"' };
    if (request.tokenCount === 0 || onWorkerLoss === "restart") return { how: "from the start" };
    if (canResume) return { how: "after the tokens" };
    if ((request.submission.options.temperature ?? 1) < GREEDY_BELOW) return { how: "from the start" };
    return { cannot: "the reference engine cannot go on in the middle of a sampled answer" };
  }

  #onFailed(error: GlimpseError): void {
    if (this.#slots.every((slot) => slot.state === "failed")) this.#end(error);
  }

  /** Gives every request that has none its ending. */
  #end(error: GlimpseError): void {
    if (this.#ended !== undefined) return;
    this.#ended = error;
    const requests = [...this.#slots.flatMap((slot) => slot.board.requests()), ...this.#queue];
    for (const request of requests) {
      this.#queue.remove(request);
      request.fail(error);
    }
    this.#checkDrained();
  }

  #checkDrained(): void {
    if (!this.#draining) return;
    const idle =
      this.#ended !== undefined || (this.#queue.length === 0 && this.#slots.every(({ board }) => board.isEmpty));
    if (idle) for (const resolve of this.#drained.splice(0)) resolve();
  }
}

/** Below it a temperature is greedy, as in protocol/messages.ts. */
const GREEDY_BELOW = 1e-5;

/** Somebody else, or the kernel for want of memory, may have ended it: not the request's doing. */
function isSignalOfOthers({ cause, exit }: CrashReport): boolean {
  return cause === "exited" && exit.kind === "signalled" && (exit.signal === "SIGKILL" || exit.signal === "SIGTERM");
}
