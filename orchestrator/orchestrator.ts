import { isMainThread } from "node:worker_threads";
import { GlimpseError } from "../protocol/errors.ts";
import type { DataFromWorker } from "../protocol/messages.ts";
import type { WorkerEvent, WorkerInfo } from "./events.ts";
import { Request } from "./request.ts";
import type { RequestEvent, Submission, SubmittedRequest, Transport } from "./transport.ts";
import { Worker, type WorkerSettings } from "./worker.ts";

export interface OrchestratorOptions {
  /** The interpreter that runs the worker. */
  python: string;
  settings: WorkerSettings;
  onEvent?: ((event: WorkerEvent) => void) | undefined;
  /** Ends a start that takes too long; a running orchestrator is ended with `close()`. */
  signal?: AbortSignal | undefined;
}

/** Starts a worker and resolves when it takes requests. Rejects with the worker's own reason if it does not. */
export async function startOrchestrator(options: OrchestratorOptions): Promise<Transport> {
  refuseUnsupportedPlatform();
  if (options.signal?.aborted) throw aborted(options.signal);
  const orchestrator = new Orchestrator(options.onEvent ?? (() => {}));
  const started = new AbortController();
  try {
    await Promise.race([rejectOnAbort(options.signal, started.signal), orchestrator.start(options)]);
    return orchestrator;
  } catch (error) {
    await orchestrator.close();
    throw error;
  } finally {
    started.abort();
  }
}

/** Rejects when `signal` fires, and lets go of it when `until` does. */
function rejectOnAbort(signal: AbortSignal | undefined, until: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    signal?.addEventListener("abort", () => reject(aborted(signal)), { signal: until });
  });
}

function aborted(signal: AbortSignal): GlimpseError {
  return new GlimpseError("ABORTED", "launch() was aborted before the worker was ready", { cause: signal.reason });
}

function refuseUnsupportedPlatform(): void {
  if (process.platform === "win32") {
    throw new GlimpseError("PLATFORM_UNSUPPORTED", "Glimpse starts workers on Linux and macOS, not on Windows", {
      hint: "Run it inside WSL 2.",
    });
  }
  if (!isMainThread) {
    throw new GlimpseError("PLATFORM_UNSUPPORTED", "launch() was called in a worker_thread, expected the main thread", {
      hint: "Linux ends a worker when the thread that started it ends: call launch() in the main thread.",
    });
  }
}

class Orchestrator implements Transport {
  readonly #onEvent: (event: WorkerEvent) => void;
  readonly #queue: Request[] = [];
  readonly #onBoard = new Map<string, Request>();
  #starting: Promise<Worker> | undefined;
  #worker: Worker | undefined;
  #slots = 0;
  #placesChanged = false;
  /** Why no request is taken any more. */
  #ended: GlimpseError | undefined;

  constructor(onEvent: (event: WorkerEvent) => void) {
    this.#onEvent = (event) => callOutside(onEvent, event);
  }

  async start({ python, settings }: OrchestratorOptions): Promise<void> {
    this.#starting = Worker.start(
      { id: "worker-0", generation: 1, python, settings },
      {
        onEvent: this.#onEvent,
        onData: (message) => this.#onData(message),
        onEnd: (error) => this.#end(error),
      },
    );
    this.#worker = await this.#starting;
    this.#slots = (await this.#worker.ready).slots;
  }

  submit(submission: Submission, onEvent: (event: RequestEvent) => void): SubmittedRequest {
    const request = new Request(submission, onEvent, (cancelled) => this.#cancel(cancelled));
    // Events come from the event loop, so that the caller holds the request before the first of them.
    setImmediate(() => {
      if (this.#ended !== undefined) return request.fail(this.#ended);
      if (request.state === "ended") return;
      this.#queue.push(request);
      this.#dispatch();
    });
    return request;
  }

  workers(): WorkerInfo[] {
    return this.#worker === undefined ? [] : [this.#worker.info()];
  }

  async close(): Promise<void> {
    const disposed = new GlimpseError("DISPOSED", "the client was closed", { hint: "launch() starts a new one." });
    this.#end(disposed);
    this.#ended = disposed;
    // It may still be making its sockets; if it could not, there is nothing to stop.
    const worker = await this.#starting?.catch(() => undefined);
    await worker?.stop();
  }

  #dispatch(): void {
    const worker = this.#worker;
    while (worker !== undefined && this.#onBoard.size < this.#slots) {
      const request = this.#queue.shift();
      if (request === undefined) break;
      this.#board(request, worker);
    }
    this.#tellPlaces();
  }

  /** Once per turn of the event loop, however many requests come or leave in it: each of them moves all that wait. */
  #tellPlaces(): void {
    if (this.#placesChanged || this.#queue.length === 0) return;
    this.#placesChanged = true;
    setImmediate(() => {
      this.#placesChanged = false;
      for (const [index, request] of this.#queue.entries()) request.moveTo(this.#onBoard.size + index);
    });
  }

  #board(request: Request, worker: Worker): void {
    try {
      worker.generate(request.board(), request.frames);
      this.#onBoard.set(request.id, request);
    } catch (error) {
      if (!GlimpseError.is(error)) throw error;
      request.fail(error);
    }
  }

  #cancel(request: Request): void {
    if (request.state === "on board") {
      this.#worker?.control({ type: "cancel", request: request.id, attempt: 0 });
      return;
    }
    const index = this.#queue.indexOf(request);
    if (index >= 0) this.#queue.splice(index, 1);
    request.cancelQueued();
    this.#dispatch();
  }

  #onData(message: DataFromWorker): void {
    switch (message.type) {
      case "tokens":
        for (const item of message.items) this.#onBoard.get(item.request)?.tokens(item);
        return;
      case "warning":
        return this.#onBoard.get(message.request)?.warning(message);
      case "done":
        this.#leave(message.request)?.done(message, this.#worker?.info());
        return this.#dispatch();
      case "error":
        this.#leave(message.request)?.fail(new GlimpseError(message.code, message.message, message), message.media);
        return this.#dispatch();
      default:
        return message satisfies never;
    }
  }

  #leave(id: string): Request | undefined {
    const request = this.#onBoard.get(id);
    this.#onBoard.delete(id);
    return request;
  }

  /** Gives every request that has none its ending. */
  #end(error: GlimpseError): void {
    if (this.#ended !== undefined) return;
    this.#ended = error;
    const requests = [...this.#onBoard.values(), ...this.#queue];
    this.#onBoard.clear();
    this.#queue.length = 0;
    for (const request of requests) request.fail(error);
  }
}

/** What the caller's function throws is the caller's: it must not keep a request from its ending. */
function callOutside(onEvent: (event: WorkerEvent) => void, event: WorkerEvent): void {
  try {
    onEvent(event);
  } catch (error) {
    queueMicrotask(() => {
      throw error;
    });
  }
}
