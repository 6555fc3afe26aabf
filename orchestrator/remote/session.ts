import { timingSafeEqual } from "node:crypto";
import type { Socket } from "node:net";
import { MAX_HEADER_BYTES } from "../../protocol/codec.ts";
import { GlimpseError } from "../../protocol/errors.ts";
import {
  type BackgroundPhase,
  decodeToBackground,
  REMOTE_PROTOCOL_VERSION,
  type Submit,
  type ToBackground,
} from "../../protocol/remote.ts";
import type { WorkerEvent } from "../events.ts";
import { version } from "../package-root.ts";
import { isEnding, type RequestEvent, type SubmittedRequest, type Transport } from "../transport.ts";
import { frameSizes, MessageReader } from "./frames.ts";
import { Outbox } from "./outbox.ts";
import { toFailure } from "./wire-events.ts";

/** What the clients of one background orchestrator share. */
export interface Host {
  readonly token: string;
  readonly phase: BackgroundPhase;
  /** There as soon as requests are taken. */
  readonly transport: Transport | undefined;
  /** The ids of all requests that have no ending yet. */
  readonly requests: Set<string>;
  welcome(): object;
  /** A client has said who it is. */
  greeted(session: Session): void;
  left(session: Session): void;
  shutdown(drain: boolean): void;
}

type ToBackgroundMessage = ReturnType<typeof decodeToBackground>;

const HELLO_WITHIN_MS = 10_000;
/** Nobody who has not shown the token has more to say. */
const MAX_HELLO_BYTES = 1024;
/** So long the other side has to read why the connection ends. */
const BYE_MS = 1_000;
/** Of a client that lets events of more requests wait than this, nothing more is read until it reads. */
const MAX_WAITING_REQUESTS = 10_000;

/** One connection of the background orchestrator: what the client sends is done, what it asks for is answered. */
export class Session {
  readonly #socket: Socket;
  readonly #host: Host;
  readonly #outbox: Outbox;
  readonly #reader = new MessageReader(decodeToBackground, (header) =>
    header.type === "submit" ? frameSizes(header.media) : [],
  );
  readonly #requests = new Map<string, SubmittedRequest>();
  readonly #helloTimer: NodeJS.Timeout;
  #state: "greeting" | "open" | "ended" = "greeting";
  #subscribed = false;

  constructor(socket: Socket, host: Host) {
    this.#socket = socket;
    this.#host = host;
    this.#outbox = new Outbox(socket);
    this.#reader.maxHeaderBytes = MAX_HELLO_BYTES;
    this.#helloTimer = setTimeout(() => this.#refuse(protocolError("it said nothing")), HELLO_WITHIN_MS).unref();
    socket.on("data", (chunk: Buffer) => this.#onData(chunk));
    socket.on("drain", () => socket.resume());
    // `close` follows, and is what counts.
    socket.on("error", () => {});
    socket.on("close", () => this.#end());
  }

  ready(): void {
    this.#outbox.send({ type: "ready" });
  }

  workers(message: object): void {
    this.#outbox.workers(message);
  }

  workerEvent(event: WorkerEvent): void {
    if (this.#subscribed) this.#outbox.workerEvent(event);
  }

  /** Says why nothing follows; it is the ending of all that run. The connection stays until the client, or we, are gone. */
  bye(error: GlimpseError): void {
    if (this.#state === "ended") return;
    this.#outbox.finish({ type: "bye", ...toFailure(error) });
    this.#end();
  }

  #onData(chunk: Buffer): void {
    // Whoever still writes to an ended connection shall be able to read its last message.
    if (this.#state === "ended") return;
    try {
      for (const { header, frames } of this.#reader.read(chunk)) this.#onMessage(header, frames);
    } catch (error) {
      if (!GlimpseError.is(error)) throw error;
      this.#refuse(error);
    }
  }

  #onMessage(message: ToBackgroundMessage, frames: readonly Uint8Array[]): void {
    if (this.#state === "ended") return;
    if (this.#state === "greeting") return this.#greet(message);
    switch (message.type) {
      case "hello":
        throw protocolError("it said hello twice");
      case "submit":
        return this.#submit(message, frames);
      case "cancel":
        return this.#requests.get(message.request)?.cancel();
      case "subscribe":
        this.#subscribed = message.on;
        return;
      case "restart":
        void this.#restart(message.call);
        return;
      case "shutdown":
        return this.#host.shutdown(message.drain);
      default:
        return message satisfies never;
    }
  }

  #greet(message: ToBackgroundMessage): void {
    if (message.type !== "hello") throw protocolError(`its first message is ${message.type}, expected hello`);
    checkVersion(message);
    if (!isEqual(message.token, this.#host.token)) throw protocolError("its token is not the one of the token file");
    clearTimeout(this.#helloTimer);
    this.#reader.maxHeaderBytes = MAX_HEADER_BYTES;
    this.#state = "open";
    this.#outbox.send(this.#host.welcome());
    this.#host.greeted(this);
  }

  #submit({ type: _, request, ...submission }: Submit, frames: readonly Uint8Array[]): void {
    const { transport, requests } = this.#host;
    if (transport === undefined) throw protocolError("it sent a request before the workers were ready");
    if (requests.has(request)) throw protocolError(`request ${request} is on board already`);
    if (this.#host.phase === "ending") return this.#outbox.event(request, { type: "error", error: endsNow() });
    requests.add(request);
    const submitted = transport.submit({ id: request, ...submission, frames }, (event) =>
      this.#onEvent(request, event),
    );
    this.#requests.set(request, submitted);
  }

  #onEvent(request: string, event: RequestEvent): void {
    if (isEnding(event)) {
      this.#host.requests.delete(request);
      this.#requests.delete(request);
    }
    if (this.#state === "ended") return;
    this.#outbox.event(request, event);
    if (this.#outbox.waiting > MAX_WAITING_REQUESTS) this.#socket.pause();
  }

  async #restart(call: number): Promise<void> {
    try {
      if (this.#host.transport === undefined) throw protocolError("it asked for a restart before there was a worker");
      await this.#host.transport.restart();
      this.#outbox.send({ type: "settled", call });
    } catch (error) {
      if (!GlimpseError.is(error)) throw error;
      this.#outbox.send({ type: "settled", call, error: toFailure(error) });
    }
  }

  /** Ends the connection of a client that broke the protocol, and tells it so. */
  #refuse(error: GlimpseError): void {
    this.bye(error);
    this.#socket.end();
    setTimeout(() => this.#socket.destroy(), BYE_MS).unref();
  }

  /** What the client had on board is of use to nobody any more. */
  #end(): void {
    if (this.#state === "ended") return;
    const wasOpen = this.#state === "open";
    this.#state = "ended";
    clearTimeout(this.#helloTimer);
    for (const request of [...this.#requests.values()]) request.cancel();
    if (wasOpen) this.#host.left(this);
  }
}

function protocolError(what: string): GlimpseError {
  return new GlimpseError("PROTOCOL_ERROR", `the background orchestrator ends the connection: ${what}`);
}

export function endsNow(): GlimpseError {
  return new GlimpseError("NOT_RUNNING", "the background orchestrator is ending and takes nothing new", {
    hint: "`npx glimpse up` starts a new one when it is gone.",
  });
}

function checkVersion(hello: ToBackground & { type: "hello" }): void {
  if (hello.protocol === REMOTE_PROTOCOL_VERSION && hello.version === version) return;
  throw new GlimpseError(
    "PROTOCOL_MISMATCH",
    `the background orchestrator is of Glimpse ${version} (protocol ${REMOTE_PROTOCOL_VERSION}), ` +
      `this program of ${hello.version} (protocol ${hello.protocol})`,
    { hint: "End it with `npx glimpse down`, and start that of this version with `npx glimpse up`." },
  );
}

function isEqual(shown: string, token: string): boolean {
  const [a, b] = [Buffer.from(shown), Buffer.from(token)];
  return a.byteLength === b.byteLength && timingSafeEqual(a, b);
}
