import type { Socket } from "node:net";
import { encode } from "../../protocol/codec.ts";
import type { GlimpseError } from "../../protocol/errors.ts";
import type { BackgroundPhase, Welcome } from "../../protocol/remote.ts";
import type { WorkerEvent } from "../events.ts";
import type { Transport } from "../transport.ts";
import { type Host, Session } from "./session.ts";

/** How often clients hear of loads and heartbeats, if these have changed. */
const WORKERS_EVERY_MS = 1_000;

export interface RemoteServerOptions {
  token: string;
  identity: Pick<Welcome, "pid" | "started" | "options">;
  /** A client wants everything to end: after what is running (`drain`), or at once. */
  onShutdown(drain: boolean): void;
  /** How many clients are connected now. */
  onClients(count: number): void;
}

/** All clients of a background orchestrator, and the one transport that they share. */
export class RemoteServer implements Host {
  readonly requests = new Set<string>();
  readonly token: string;
  readonly #options: RemoteServerOptions;
  readonly #sessions = new Set<Session>();
  #transport: Transport | undefined;
  #phase: BackgroundPhase = "starting";
  #timer: NodeJS.Timeout | undefined;
  #publishing = false;
  /** The workers as all clients know them. */
  #known: Buffer | undefined;

  constructor(options: RemoteServerOptions) {
    this.#options = options;
    this.token = options.token;
  }

  get phase(): BackgroundPhase {
    return this.#phase;
  }

  get transport(): Transport | undefined {
    return this.#transport;
  }

  /** How many clients are connected. */
  get clients(): number {
    return this.#sessions.size;
  }

  accept(socket: Socket): void {
    new Session(socket, this);
  }

  /** From now on requests are taken. */
  ready(transport: Transport): void {
    this.#transport = transport;
    this.#phase = "ready";
    this.#publishWorkers();
    for (const session of this.#sessions) session.ready();
  }

  /** What happens to the workers, for those who want to hear of it. */
  publish(event: WorkerEvent): void {
    for (const session of this.#sessions) session.workerEvent(event);
    if (event.type !== "state" || this.#publishing) return;
    this.#publishing = true;
    setImmediate(() => {
      this.#publishing = false;
      this.#publishWorkers();
    });
  }

  /** From now on those who connect are told that nothing new is taken. */
  ending(): void {
    this.#phase = "ending";
  }

  /** Ends every request, for the reason given, and says so to every client. */
  bye(error: GlimpseError): void {
    clearInterval(this.#timer);
    for (const session of [...this.#sessions]) session.bye(error);
  }

  welcome(): object {
    const workers = this.#transport?.workers() ?? [];
    return { type: "welcome", ...this.#options.identity, phase: this.#phase, workers };
  }

  greeted(session: Session): void {
    this.#sessions.add(session);
    this.#timer ??= setInterval(() => this.#publishWorkers(), WORKERS_EVERY_MS).unref();
    this.#options.onClients(this.#sessions.size);
  }

  left(session: Session): void {
    this.#sessions.delete(session);
    if (this.#sessions.size === 0) {
      clearInterval(this.#timer);
      this.#timer = undefined;
    }
    this.#options.onClients(this.#sessions.size);
  }

  shutdown(drain: boolean): void {
    this.#options.onShutdown(drain);
  }

  #publishWorkers(): void {
    if (this.#transport === undefined) return;
    const message = { type: "workers", workers: this.#transport.workers() };
    const packed = encode(message);
    if (this.#known?.equals(packed)) return;
    this.#known = packed;
    for (const session of this.#sessions) session.workers(message);
  }
}
