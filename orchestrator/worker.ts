import { randomBytes } from "node:crypto";
import { setTimeout as delay } from "node:timers/promises";
import { decodeControl, decodeData, encode, MAX_HEADER_BYTES } from "../protocol/codec.ts";
import { GlimpseError } from "../protocol/errors.ts";
import {
  type ControlFromWorker,
  type ControlToWorker,
  type CountMessage,
  type DataFromWorker,
  type GenerateMessage,
  PROTOCOL_VERSION,
  type StartMessage,
} from "../protocol/messages.ts";
import { Channel } from "./channel.ts";
import type { ExitReason } from "./exit-reason.ts";
import { checkHello } from "./handshake.ts";
import { makeSocketDirectory, type SocketDirectory } from "./socket-directory.ts";
import { type LogLine, WorkerProcess } from "./worker-process.ts";

/** What a worker is to run; the rest of the start-up line is the worker's own business. */
export type WorkerSettings = Pick<
  StartMessage,
  "model" | "revision" | "hubToken" | "device" | "dtype" | "engine" | "heartbeatMs" | "threads"
>;

export interface WorkerOptions {
  generation: number;
  python: string;
  /** Added to the environment. */
  env: Readonly<Record<string, string>>;
  /** How long it may take to leave before SIGTERM, and then before SIGKILL. */
  leaveMs: number;
  /** How long SIGKILL may take. */
  killMs: number;
  settings: WorkerSettings;
}

export interface WorkerListener {
  onControl(message: ControlFromWorker): void;
  onData(message: DataFromWorker): void;
  onLog(log: LogLine): void;
  /** It sent what is no message of the protocol, or not one for this moment. Nothing of it is listened to any more. */
  onBabble(error: GlimpseError): void;
  /** Called once, last: the process is gone, and what it had sent has been handed over. */
  onExit(exit: ExitReason): void;
}

/** libzmq's own thread hands over what a worker sent before it left. */
const DRAIN_MS = 100;

/** One Python process and the two channels to it. Whether it is well, and what follows, others decide. */
export class Worker {
  readonly #options: WorkerOptions;
  readonly #listener: WorkerListener;
  readonly #process: WorkerProcess;
  readonly #control: Channel;
  readonly #data: Channel;
  readonly #directory: SocketDirectory;
  readonly #secret = randomBytes(32).toString("base64url");
  readonly #closed: Promise<void>;
  #saidHello = false;
  #gone = false;
  #deaf = false;

  private constructor(
    options: WorkerOptions,
    listener: WorkerListener,
    place: { directory: SocketDirectory; control: Channel; data: Channel },
  ) {
    this.#options = options;
    this.#listener = listener;
    this.#directory = place.directory;
    this.#control = place.control;
    this.#data = place.data;
    this.#process = new WorkerProcess(options.python, options, this.#startMessage(), (log) => listener.onLog(log));
    this.#closed = this.#process.exited.then((exit) => this.#exited(exit));
    void this.#receive(this.#control, (frame) => this.#onControl(decodeControl(frame)));
    void this.#receive(this.#data, (frame) => this.#listener.onData(decodeData(frame)));
  }

  /** @throws GlimpseError WORKER_START_FAILED when its sockets cannot be made. */
  static async start(options: WorkerOptions, listener: WorkerListener): Promise<Worker> {
    const directory = await makeSocketDirectory();
    const channels: Channel[] = [];
    const bind = async (path: string): Promise<Channel> => {
      const channel = await Channel.bind(`ipc://${path}`, MAX_HEADER_BYTES);
      channels.push(channel);
      return channel;
    };
    try {
      const [control, data] = [await bind(directory.control), await bind(directory.data)];
      return new Worker(options, listener, { directory, control, data });
    } catch (cause) {
      for (const channel of channels) channel.close();
      await directory.remove();
      throw new GlimpseError("WORKER_START_FAILED", `the worker could not be started: ${cause}`, { cause });
    }
  }

  get pid(): number | undefined {
    return this.#process.pid;
  }

  /** Whether the process has ended, which `onExit` tells a little later. */
  get isGone(): boolean {
    return this.#gone;
  }

  /** The last lines of its stderr, oldest first. */
  stderrTail(): readonly string[] {
    return this.#process.stderrTail();
  }

  stacks(): string | undefined {
    return this.#process.stacks();
  }

  /** `frames` are the raw media, in the order of the header's `media`; they must not change any more. */
  request(header: GenerateMessage | CountMessage, frames: readonly Uint8Array[]): void {
    this.#data.send([encode(header), ...frames]);
  }

  cancel(request: string, attempt: number): void {
    this.#send({ type: "cancel", request, attempt });
  }

  /** Asks for the stacks of its threads. */
  dump(): void {
    this.#process.dump();
  }

  kill(): void {
    this.#process.kill();
  }

  /**
   * Asks it to leave, and makes it leave if it does not. Resolves when it is gone and its sockets are removed; those of
   * one that not even SIGKILL ends are removed all the same.
   */
  async shutDown(): Promise<void> {
    this.#send({ type: "shutdown" });
    await this.letLeave();
  }

  /** For a worker that leaves by itself: makes it, if it does not. Resolves like `shutDown`. */
  async letLeave(): Promise<void> {
    if (await this.#process.stop()) await this.#closed;
    else await this.#close();
  }

  #send(message: ControlToWorker): void {
    this.#control.send([encode(message)]);
  }

  #startMessage(): StartMessage {
    return {
      type: "start",
      protocol: PROTOCOL_VERSION,
      generation: this.#options.generation,
      token: this.#secret,
      control: `ipc://${this.#directory.control}`,
      data: `ipc://${this.#directory.data}`,
      parentPid: process.pid,
      ...this.#options.settings,
    };
  }

  /** The one place where bytes of a worker enter. */
  async #receive(channel: Channel, handle: (frame: Uint8Array) => void): Promise<void> {
    for await (const [frame, ...more] of channel.receive()) {
      if (this.#deaf) continue;
      try {
        if (frame === undefined || more.length > 0) {
          throw new GlimpseError("PROTOCOL_ERROR", `a message of the worker has ${more.length + 1} frames, expected 1`);
        }
        handle(frame);
      } catch (error) {
        if (!GlimpseError.is(error)) throw error;
        this.#deaf = true;
        this.#listener.onBabble(error);
      }
    }
  }

  #onControl(message: ControlFromWorker): void {
    if (message.type === "hello") {
      checkHello(message, { token: this.#secret, generation: this.#options.generation });
      this.#saidHello = true;
    } else if (!this.#saidHello) {
      throw new GlimpseError("PROTOCOL_ERROR", `the worker sent ${message.type} before hello`);
    }
    this.#listener.onControl(message);
  }

  async #exited(exit: ExitReason): Promise<void> {
    this.#gone = true;
    await delay(DRAIN_MS);
    await this.#close();
    this.#listener.onExit(exit);
  }

  async #close(): Promise<void> {
    this.#control.close();
    this.#data.close();
    // One that stays is taken away by a later start.
    await this.#directory.remove().catch(() => {});
    this.#process.letGo();
  }
}
