import type { Socket } from "node:net";
import { GlimpseError } from "../../protocol/errors.ts";
import { type FromBackground, REMOTE_PROTOCOL_VERSION, type Welcome } from "../../protocol/remote.ts";
import { Deferred } from "../deferred.ts";
import type { WorkerEvent, WorkerInfo } from "../events.ts";
import { version } from "../package-root.ts";
import { isEnding, type RequestEvent, type Submission, type SubmittedRequest, type Transport } from "../transport.ts";
import { Connection, connectTo } from "./connection.ts";
import { frameSizes, refuseSizes, toBytes } from "./frames.ts";
import { toError, toRequestEvent } from "./wire-events.ts";

type OnEvent = (event: RequestEvent) => void;

const WELCOME_WITHIN_MS = 10_000;

/**
 * The workers of a background orchestrator, over a connection to it. While nothing is asked of it, the connection does
 * not keep the program alive.
 */
export class RemoteTransport implements Transport {
  readonly #connection: Connection;
  readonly #welcomed = new Deferred<Welcome>();
  readonly #ready = new Deferred<void>();
  readonly #requests = new Map<string, OnEvent>();
  readonly #restarts = new Map<number, Deferred<void>>();
  readonly #drained: Deferred<void>[] = [];
  readonly #listeners = new Set<(event: WorkerEvent) => void>();
  #workers: WorkerInfo[] = [];
  #restartCalls = 0;
  #draining = false;

  private constructor(socket: Socket) {
    this.#connection = new Connection(socket, {
      onMessage: (message) => this.#onMessage(message),
      onEnd: (error) => this.#onEnd(error),
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
    const transport = new RemoteTransport(await connectTo(path));
    const connection = transport.#connection;
    const timer = setTimeout(() => connection.end(silent()), WELCOME_WITHIN_MS);
    try {
      connection.send({ type: "hello", protocol: REMOTE_PROTOCOL_VERSION, version, token });
      return { transport, welcome: await connection.holding(transport.#welcomed.promise, signal) };
    } catch (error) {
      connection.destroy();
      throw error;
    } finally {
      clearTimeout(timer);
    }
  }

  /** Resolves when requests are taken. Rejects with the reason when it ends before that, and when `signal` fires. */
  ready(signal?: AbortSignal): Promise<void> {
    return this.#connection.holding(this.#ready.promise, signal);
  }

  submit({ id, frames, ...submission }: Submission, onEvent: OnEvent): SubmittedRequest {
    try {
      this.#checkOpen();
      checkSizes(frameSizes(submission.media));
      const bytes = toBytes({ type: "submit", request: id, ...submission }, frames);
      this.#requests.set(id, onEvent);
      this.#connection.hold();
      this.#connection.send(bytes);
    } catch (error) {
      if (!GlimpseError.is(error)) throw error;
      setImmediate(() => onEvent({ type: "error", error }));
    }
    return {
      cancel: () => {
        if (this.#requests.has(id)) this.#connection.send({ type: "cancel", request: id });
      },
    };
  }

  /** As the orchestrator last told: at once when a state changes, else about once a second. None when it has ended. */
  workers(): WorkerInfo[] {
    return this.#connection.ended === undefined ? this.#workers : [];
  }

  subscribe(listener: (event: WorkerEvent) => void): () => void {
    if (this.#listeners.size === 0) this.#connection.send({ type: "subscribe", on: true });
    this.#listeners.add(listener);
    return () => {
      if (!this.#listeners.delete(listener) || this.#listeners.size > 0) return;
      this.#connection.send({ type: "subscribe", on: false });
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
  async restart(): Promise<void> {
    if (this.#connection.ended !== undefined) throw this.#connection.ended;
    const call = this.#restartCalls++;
    const restart = new Deferred<void>();
    this.#restarts.set(call, restart);
    this.#connection.send({ type: "restart", call });
    await this.#connection.holding(restart.promise);
  }

  /** Ends this program's requests with DISPOSED, and the connection. The workers go on. */
  async close(): Promise<void> {
    this.#connection.end(new GlimpseError("DISPOSED", "the client was closed", { hint: "connect() makes a new one." }));
    this.#connection.destroy();
    await this.closed();
  }

  /** Ends the orchestrator and its workers: when all that runs has ended (`drain`), or at once. See `closed()`. */
  shutdown(drain: boolean): void {
    this.#connection.send({ type: "shutdown", drain });
  }

  /** Resolves when the connection is closed. An orchestrator that ends keeps it open for as long as its process lives. */
  closed(signal?: AbortSignal): Promise<void> {
    return this.#connection.closed(signal);
  }

  #checkOpen(): void {
    if (this.#connection.ended !== undefined) throw this.#connection.ended;
    if (this.#draining) throw new GlimpseError("DISPOSED", "the client takes no more requests: it drains");
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
        return this.#connection.end(toError(message));
      default:
        return message satisfies never;
    }
  }

  #onEvent(request: string, event: RequestEvent): void {
    const onEvent = this.#requests.get(request);
    if (onEvent === undefined) return;
    if (isEnding(event)) this.#forget(request);
    onEvent(event);
  }

  #forget(request: string): void {
    this.#requests.delete(request);
    this.#connection.release();
    if (this.#requests.size > 0) return;
    for (const drained of this.#drained.splice(0)) drained.resolve();
  }

  #onSettled({ call, error }: FromBackground & { type: "settled" }): void {
    const restart = this.#restarts.get(call);
    this.#restarts.delete(call);
    if (error === undefined) restart?.resolve();
    else restart?.reject(toError(error));
  }

  /** Gives everything its ending that has none. */
  #onEnd(error: GlimpseError): void {
    this.#welcomed.reject(error);
    this.#ready.reject(error);
    for (const restart of this.#restarts.values()) restart.reject(error);
    for (const request of [...this.#requests.keys()]) this.#onEvent(request, { type: "error", error });
  }
}

function checkSizes(sizes: readonly number[]): void {
  const refused = refuseSizes(sizes);
  if (refused === undefined) return;
  throw new GlimpseError("IMAGE_TOO_LARGE", refused, { hint: "Spread them over several requests." });
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
