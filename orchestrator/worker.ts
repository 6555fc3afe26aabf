import { randomBytes } from "node:crypto";
import { setTimeout as delay } from "node:timers/promises";
import { decodeControl, decodeData, encode, MAX_HEADER_BYTES } from "../protocol/codec.ts";
import { GlimpseError } from "../protocol/errors.ts";
import {
  type ControlFromWorker,
  type ControlToWorker,
  type DataFromWorker,
  type GenerateMessage,
  PROTOCOL_VERSION,
  type ReadyMessage,
  type StartMessage,
} from "../protocol/messages.ts";
import { Channel } from "./channel.ts";
import type { WorkerEvent, WorkerInfo, WorkerStateName } from "./events.ts";
import type { ExitReason } from "./exit-reason.ts";
import { makeSocketDirectory, type SocketDirectory } from "./socket-directory.ts";
import { checkHello, type Fault, lostWorker, workerDiedAtStart, workerSaidNothing } from "./worker-failure.ts";
import { WorkerProcess } from "./worker-process.ts";

/** What a worker is to run; the rest of the start-up line is the worker's own business. */
export type WorkerSettings = Pick<StartMessage, "model" | "revision" | "hubToken" | "device" | "dtype" | "engine">;

export interface WorkerOptions {
  id: string;
  generation: number;
  python: string;
  settings: WorkerSettings;
}

export interface WorkerListener {
  onEvent(event: WorkerEvent): void;
  onData(message: DataFromWorker): void;
  /** Called once, when the worker takes no more requests: it failed, died or was stopped. */
  onEnd(error: GlimpseError): void;
}

/** A Python that cannot even say hello within this time will not. */
const HELLO_WITHIN_MS = 60_000;
const DRAIN_MS = 100;

/** One Python worker: its process, its two channels, and the hand-shake between them. */
export class Worker {
  readonly #options: WorkerOptions;
  readonly #listener: WorkerListener;
  readonly #process: WorkerProcess;
  readonly #control: Channel;
  readonly #data: Channel;
  readonly #directory: SocketDirectory;
  readonly #secret: string;
  readonly #helloTimer: NodeJS.Timeout;
  #state: WorkerStateName = "starting";
  #ready: ReadyMessage | undefined;
  #exit: ExitReason | undefined;
  /** Why the worker says that it leaves. */
  #fault: Fault | undefined;
  #settleReady!: { resolve: (ready: ReadyMessage) => void; reject: (error: GlimpseError) => void };
  readonly ready: Promise<ReadyMessage>;

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
    this.#secret = randomBytes(32).toString("base64url");
    this.ready = new Promise((resolve, reject) => {
      this.#settleReady = { resolve, reject };
    });
    // Whoever waits for `ready` sees the rejection; nobody has to.
    this.ready.catch(() => {});
    this.#process = new WorkerProcess(options.python, this.#startMessage(), (log) =>
      listener.onEvent({ type: "log", worker: options.id, ...log }),
    );
    this.#helloTimer = setTimeout(
      () => this.#fail(workerSaidNothing(options.python, HELLO_WITHIN_MS)),
      HELLO_WITHIN_MS,
    );
    void this.#process.exited.then((exit) => this.#exited(exit));
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

  info(): WorkerInfo {
    return {
      id: this.#options.id,
      pid: this.#process.pid,
      state: this.#state,
      exit: this.#exit,
      device: this.#ready?.device,
      model: this.#ready?.model,
      engine: this.#ready?.engine,
      dtype: this.#ready?.dtype,
      contextLength: this.#ready?.contextLength,
      kvCacheTokens: this.#ready?.kvCacheTokens,
      versions: this.#ready?.versions,
    };
  }

  /** `frames` are the raw media, in the order of the header's `media`; they must not change any more. */
  generate(header: GenerateMessage, frames: readonly Uint8Array[]): void {
    this.#data.send([encode(header), ...frames]);
  }

  control(message: ControlToWorker): void {
    this.#control.send([encode(message)]);
  }

  /** Ends the worker, politely first. Resolves when the process is gone and its sockets are removed. */
  async stop(): Promise<void> {
    if (!this.#hasEnded() && this.#state !== "stopping") {
      this.#enter("stopping");
      this.control({ type: "shutdown" });
    }
    await this.#process.stop();
    await this.#close();
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
      if (this.#hasEnded()) return;
      try {
        if (frame === undefined || more.length > 0) {
          throw new GlimpseError("PROTOCOL_ERROR", `a message of the worker has ${more.length + 1} frames, expected 1`);
        }
        handle(frame);
      } catch (error) {
        if (!GlimpseError.is(error)) throw error;
        this.#end("failed", error);
        this.#process.kill();
        return;
      }
    }
  }

  #onControl(message: ControlFromWorker): void {
    switch (message.type) {
      case "hello":
        checkHello(message, { token: this.#secret, generation: this.#options.generation });
        clearTimeout(this.#helloTimer);
        if (this.#state === "starting") this.#enter("loading");
        return;
      case "loading":
        return this.#listener.onEvent({ ...message, worker: this.#options.id });
      case "ready":
        if (this.#state !== "loading") return;
        this.#ready = message;
        this.#enter("ready");
        return this.#settleReady.resolve(message);
      case "failed":
        return this.#fail(new GlimpseError(message.code, message.message, message));
      case "fault":
        // It leaves by itself; what it still has to say on the data channel comes before its exit.
        this.#fault = message;
        void this.#process.stop();
        return;
      default:
        return message satisfies never;
    }
  }

  async #exited(exit: ExitReason): Promise<void> {
    this.#exit = exit;
    // libzmq's own thread hands over what the worker sent before it left: the ending of the request at fault.
    if (this.#fault !== undefined) await delay(DRAIN_MS);
    if (this.#state === "stopping") this.#end("stopped", new GlimpseError("DISPOSED", "the worker was stopped"));
    const { id, python } = this.#options;
    const death = { worker: id, python, exit, fault: this.#fault, stderr: this.#process.stderrTail() };
    this.#end("failed", this.#ready === undefined ? workerDiedAtStart(death) : lostWorker(death));
    await this.#close();
  }

  /** Ends a worker that is about to leave, or should be. */
  #fail(error: GlimpseError): void {
    this.#end("failed", error);
    void this.#process.stop();
  }

  #end(name: "stopped" | "failed", error: GlimpseError): void {
    if (this.#hasEnded()) return;
    clearTimeout(this.#helloTimer);
    this.#enter(name);
    this.#settleReady.reject(error);
    this.#listener.onEnd(error);
  }

  #hasEnded(): boolean {
    return this.#state === "stopped" || this.#state === "failed";
  }

  async #close(): Promise<void> {
    this.#control.close();
    this.#data.close();
    await this.#directory.remove();
  }

  #enter(state: WorkerStateName): void {
    this.#state = state;
    this.#listener.onEvent({ type: "state", worker: this.#options.id, state });
  }
}
