import { connect, type Socket } from "node:net";
import { GlimpseError } from "../../protocol/errors.ts";
import { decodeFromBackground, type FromBackground, type ToBackground } from "../../protocol/remote.ts";
import { Deferred } from "../deferred.ts";
import { MessageReader, toBytes } from "./frames.ts";

export interface ConnectionListener {
  onMessage(message: FromBackground): void;
  /** Called once: nothing comes any more, for this reason. */
  onEnd(error: GlimpseError): void;
}

/** The client's end of the socket. It keeps the program alive only while it is held. */
export class Connection {
  readonly #socket: Socket;
  readonly #listener: ConnectionListener;
  readonly #reader = new MessageReader(decodeFromBackground);
  readonly #closed = new Deferred<void>();
  #held = 0;
  #ended: GlimpseError | undefined;

  constructor(socket: Socket, listener: ConnectionListener) {
    this.#socket = socket;
    this.#listener = listener;
    socket.on("data", (chunk: Buffer) => this.#onData(chunk));
    // `close` follows, and is what counts.
    socket.on("error", () => {});
    socket.on("close", () => {
      this.end(lost());
      this.#closed.resolve();
    });
  }

  /** Why nothing can be sent any more. */
  get ended(): GlimpseError | undefined {
    return this.#ended;
  }

  /** Writes bytes that `toBytes` has made, or makes them. */
  send(message: ToBackground | readonly Uint8Array[]): void {
    if (this.#socket.destroyed) return;
    this.#socket.cork();
    for (const bytes of "type" in message ? toBytes(message) : message) this.#socket.write(bytes);
    this.#socket.uncork();
  }

  /** Takes `error` for the end, unless there was one before. The socket stays open until the other side closes it. */
  end(error: GlimpseError): void {
    if (this.#ended !== undefined) return;
    this.#ended = error;
    this.#listener.onEnd(error);
  }

  destroy(): void {
    this.#socket.destroy();
  }

  /** Resolves when the socket is closed. */
  closed(signal?: AbortSignal): Promise<void> {
    return this.holding(this.#closed.promise, signal);
  }

  /** Settles as `promise` does, or rejects with ABORTED, and keeps the program alive until then. */
  async holding<Value>(promise: Promise<Value>, signal?: AbortSignal): Promise<Value> {
    const aborted = new Deferred<never>();
    const what = "waiting for the background orchestrator was aborted by its signal";
    const abort = () => aborted.reject(new GlimpseError("ABORTED", what, { cause: signal?.reason }));
    if (signal?.aborted) abort();
    signal?.addEventListener("abort", abort);
    this.hold();
    try {
      return await Promise.race([promise, aborted.promise]);
    } finally {
      this.release();
      signal?.removeEventListener("abort", abort);
    }
  }

  hold(): void {
    if (this.#held++ === 0) this.#socket.ref();
  }

  release(): void {
    if (--this.#held === 0) this.#socket.unref();
  }

  #onData(chunk: Buffer): void {
    try {
      for (const { header } of this.#reader.read(chunk)) this.#listener.onMessage(header);
    } catch (error) {
      if (!GlimpseError.is(error)) throw error;
      this.end(error);
      this.#socket.destroy();
    }
  }
}

/** Rejects with the socket's own error when nobody listens at `path`. */
export async function connectTo(path: string): Promise<Socket> {
  const socket = connect(path);
  await new Promise<void>((resolve, reject) => {
    socket.once("connect", resolve);
    socket.once("error", reject);
  });
  return socket;
}

function lost(): GlimpseError {
  return new GlimpseError("CONNECTION_LOST", "the background orchestrator ended, or was killed", {
    hint: "Start it again with `npx glimpse up`, then connect() again.",
  });
}
