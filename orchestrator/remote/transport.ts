import { connect, type Socket } from "node:net";
import { GlimpseError } from "../../protocol/errors.ts";
import {
  decodeFromBackground,
  type FromBackground,
  REMOTE_PROTOCOL_VERSION,
  type ToBackground,
  type Welcome,
} from "../../protocol/remote.ts";
import type { WorkerEvent, WorkerInfo } from "../events.ts";
import { version } from "../package-root.ts";
import type { RequestEvent, Submission, SubmittedRequest, Transport } from "../transport.ts";
import { Deferred } from "./deferred.ts";
import { frameSizes, MessageReader, refuseSizes, toBytes } from "./frames.ts";
import { toError, toRequestEvent } from "./wire-events.ts";

type OnEvent = (event: RequestEvent) => void;

const WELCOME_WITHIN_MS = 10_000;

/**
 * The workers of a background orchestrator, over a connection to it. While nothing is asked of it, the connection does
 * not keep the program alive.
 */
export class RemoteTransport implements Transport {
  readonly #socket: Socket;
  readonly #reader = new MessageReader(decodeFromBackground);
  readonly #welcomed = new Deferred<Welcome>();
  readonly #ready = new Deferred<void>();
  readonly #closed = new Deferred<void>();
  readonly #requests = new Map<string, OnEvent>();
  readonly #restarts = new Map<number, Deferred<void>>();
  readonly #listeners = new Set<(event: WorkerEvent) => void>();
  readonly #drained: Deferred<void>[] = [];
  #workers: WorkerInfo[] = [];
  #restartCalls = 0;
  #draining = false;
  /** How many things are under way that keep the program alive. */
  #held = 0;
  /** Why no request is taken any more. */
  #ended: GlimpseError | undefined;

  private constructor(socket: Socket) {
    this.#socket = socket;
    socket.on("data", (chunk: Buffer) => this.#onData(chunk));
    // `close` follows, and is what counts.
    socket.on("error", () => {});
    socket.on("close", () => {
      this.#end(lost());
      this.#closed.resolve();
    });
  }

  /**
   * Connects and says hello. Rejects with the socket's own error when nobody listens at `path`, and with a GlimpseError
   * when whoever listens refuses or says nothing, or when `signal` fires.
   */
  static async open(
    path: string,
    token: string,
    signal?: AbortSignal,
  ): Promise<{ transport: RemoteTransport; welcome: Welcome }> {
    const socket = connect(path);
    await new Promise<void>((resolve, reject) => {
      socket.once("connect", resolve);
      socket.once("error", reject);
    });
    const transport = new RemoteTransport(socket);
    const timer = setTimeout(() => transport.#end(silent()), WELCOME_WITHIN_MS);
    try {
      transport.#send({ type: "hello", protocol: REMOTE_PROTOCOL_VERSION, version, token });
      return { transport, welcome: await transport.#settled(transport.#welcomed.promise, signal) };
    } catch (error) {
      socket.destroy();
      throw error;
    } finally {
      clearTimeout(timer);
    }
  }

  /** Resolves when requests are taken. Rejects with the reason when it ends before that, and when `signal` fires. */
  ready(signal?: AbortSignal): Promise<void> {
    return this.#settled(this.#ready.promise, signal);
  }

  submit({ id, frames, ...submission }: Submission, onEvent: OnEvent): SubmittedRequest {
    try {
      this.#refuse(frameSizes(submission.media));
      const bytes = toBytes({ type: "submit", request: id, ...submission }, frames);
      this.#requests.set(id, onEvent);
      this.#hold();
      this.#write(bytes);
    } catch (error) {
      if (!GlimpseError.is(error)) throw error;
      setImmediate(() => onEvent({ type: "error", error }));
    }
    return {
      cancel: () => {
        if (this.#requests.has(id)) this.#send({ type: "cancel", request: id });
      },
    };
  }

  /** As the orchestrator last told: at once when a state changes, else about once a second. */
  workers(): WorkerInfo[] {
    return this.#workers;
  }

  subscribe(listener: (event: WorkerEvent) => void): () => void {
    if (this.#listeners.size === 0) this.#send({ type: "subscribe", on: true });
    this.#listeners.add(listener);
    return () => {
      if (this.#listeners.delete(listener) && this.#listeners.size === 0) this.#send({ type: "subscribe", on: false });
    };
  }

  /** Of this program's requests; those of others go on. */
  async drain(): Promise<void> {
    this.#draining = true;
    if (this.#requests.size === 0) return;
    const drained = new Deferred<void>();
    this.#drained.push(drained);
    await drained.promise;
  }

  /** Of the workers that all programs share. */
  restart(): Promise<void> {
    if (this.#ended !== undefined) return Promise.reject(this.#ended);
    const call = this.#restartCalls++;
    const restart = new Deferred<void>();
    this.#restarts.set(call, restart);
    this.#send({ type: "restart", call });
    return this.#settled(restart.promise);
  }

  /** Ends this program's requests with DISPOSED, and the connection. The workers go on. */
  async close(): Promise<void> {
    this.#end(new GlimpseError("DISPOSED", "the client was closed", { hint: "connect() makes a new one." }));
    this.#socket.destroy();
    await this.closed();
  }

  /** Ends the orchestrator and its workers: when all that runs has ended (`drain`), or at once. See `closed()`. */
  shutdown(drain: boolean): void {
    this.#send({ type: "shutdown", drain });
  }

  /** Resolves when the connection has ended. An orchestrator that ends keeps it until no process is left. */
  closed(signal?: AbortSignal): Promise<void> {
    return this.#settled(this.#closed.promise, signal);
  }

  #refuse(sizes: readonly number[]): void {
    if (this.#ended !== undefined) throw this.#ended;
    if (this.#draining) throw new GlimpseError("DISPOSED", "the client takes no more requests: it drains");
    const refused = refuseSizes(sizes);
    if (refused !== undefined) {
      throw new GlimpseError("IMAGE_TOO_LARGE", refused, { hint: "Spread them over several requests." });
    }
  }

  #onData(chunk: Buffer): void {
    try {
      for (const { header } of this.#reader.read(chunk)) this.#onMessage(header);
    } catch (error) {
      if (!GlimpseError.is(error)) throw error;
      this.#end(error);
      this.#socket.destroy();
    }
  }

  #onMessage(message: FromBackground): void {
    switch (message.type) {
      case "welcome":
        this.#workers = message.workers;
        this.#welcomed.resolve(message);
        if (message.phase === "ready") this.#ready.resolve();
        return;
      case "ready":
        return this.#ready.resolve();
      case "workers":
        this.#workers = message.workers;
        return;
      case "event":
        return this.#onEvent(message.request, toRequestEvent(message.event));
      case "worker event":
        for (const listener of this.#listeners) callOutside(listener, message.event);
        return;
      case "settled":
        return this.#onSettled(message);
      case "bye":
        return this.#end(toError(message));
      default:
        return message satisfies never;
    }
  }

  #onEvent(request: string, event: RequestEvent): void {
    const onEvent = this.#requests.get(request);
    if (event.type === "done" || event.type === "error") this.#forget(request);
    onEvent?.(event);
  }

  #onSettled({ call, error }: FromBackground & { type: "settled" }): void {
    const restart = this.#restarts.get(call);
    this.#restarts.delete(call);
    if (error === undefined) restart?.resolve();
    else restart?.reject(toError(error));
  }

  #forget(request: string): void {
    if (!this.#requests.delete(request)) return;
    this.#release();
    if (this.#requests.size === 0) for (const drained of this.#drained.splice(0)) drained.resolve();
  }

  /** Gives everything its ending that has none. */
  #end(error: GlimpseError): void {
    if (this.#ended !== undefined) return;
    this.#ended = error;
    this.#welcomed.reject(error);
    this.#ready.reject(error);
    for (const restart of this.#restarts.values()) restart.reject(error);
    for (const request of [...this.#requests.keys()]) this.#onEvent(request, { type: "error", error });
  }

  #send(message: ToBackground): void {
    this.#write(toBytes(message));
  }

  #write(all: readonly Uint8Array[]): void {
    if (this.#socket.destroyed) return;
    this.#socket.cork();
    for (const bytes of all) this.#socket.write(bytes);
    this.#socket.uncork();
  }

  /** Waits for `promise`, and keeps the program alive meanwhile. */
  async #settled<Value>(promise: Promise<Value>, signal?: AbortSignal): Promise<Value> {
    this.#hold();
    const aborted = new Deferred<never>();
    const abort = () =>
      aborted.reject(new GlimpseError("ABORTED", "it was aborted by its signal", { cause: signal?.reason }));
    if (signal?.aborted) abort();
    signal?.addEventListener("abort", abort);
    try {
      return await Promise.race([promise, aborted.promise]);
    } finally {
      signal?.removeEventListener("abort", abort);
      this.#release();
    }
  }

  #hold(): void {
    if (this.#held++ === 0) this.#socket.ref();
  }

  #release(): void {
    if (--this.#held === 0) this.#socket.unref();
  }
}

function lost(): GlimpseError {
  return new GlimpseError("CONNECTION_LOST", "the background orchestrator ended, or was killed", {
    hint: "Start it again with `npx glimpse up`, then connect() again.",
  });
}

function silent(): GlimpseError {
  const what = `the background orchestrator did not answer within ${WELCOME_WITHIN_MS / 1000} s`;
  return new GlimpseError("CONNECTION_LOST", what, {
    hint: "Its process may be stopped: continue it, or end it with `npx glimpse down --now`.",
  });
}

/** What the caller's function throws is the caller's: it must not break the connection. */
function callOutside(listener: (event: WorkerEvent) => void, event: WorkerEvent): void {
  try {
    listener(event);
  } catch (error) {
    queueMicrotask(() => {
      throw error;
    });
  }
}
