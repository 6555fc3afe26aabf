import { existsSync, watch } from "node:fs";
import { GlimpseError } from "../../protocol/errors.ts";
import type { LaunchSummary } from "../../protocol/remote.ts";
import { Deferred } from "../deferred.ts";
import type { WorkerEvent } from "../events.ts";
import { version } from "../package-root.ts";
import { RemoteServer } from "../remote/server.ts";
import type { Transport } from "../transport.ts";
import { type Binding, bind } from "./binding.ts";
import { IdleLimit } from "./idle.ts";
import { Log } from "./log.ts";
import { logLine } from "./log-line.ts";
import type { Place } from "./place.ts";

export interface DaemonOptions {
  place: Place;
  /** What its workers are launched with, without secrets. */
  summary: LaunchSummary;
  /** It ends itself when nobody was connected for so long; 0: never. */
  idleMs: number;
  /** Ends it at once, but in order. */
  signal: AbortSignal;
  /** Starts the workers. */
  start(onEvent: (event: WorkerEvent) => void, signal: AbortSignal): Promise<Transport>;
  /** Told whether the place was free. */
  onBound(outcome: "listening" | "taken"): void;
  /** Resolves when the workers may be started. */
  begin: Promise<void>;
}

/**
 * The background orchestrator: listens at its place, starts the workers and lends them to whoever connects, until it is
 * told to end or nobody needs it. Until its workers are ready it lives only as long as somebody waits for them. Resolves
 * when no worker is left; connections stay open, and tell by their end that the process is gone.
 */
export async function runDaemon(options: DaemonOptions): Promise<void> {
  const daemon = new Daemon(options);
  const binding = await daemon.bind();
  options.onBound(binding === undefined ? "taken" : "listening");
  if (binding !== undefined) await daemon.run(binding);
}

class Daemon {
  readonly #options: DaemonOptions;
  readonly #log: Log;
  /** Settled when it is to end, be it after what is running. */
  readonly #asked = new Deferred<void>();
  /** Settled, with the reason, when it is to end at once. */
  readonly #now = new Deferred<void>();
  readonly #starting = new AbortController();
  #server!: RemoteServer;
  #idle: IdleLimit | undefined;
  #reason: string | undefined;

  constructor(options: DaemonOptions) {
    this.#options = options;
    this.#log = new Log(options.place.log);
  }

  bind(): Promise<Binding | undefined> {
    const { place, summary } = this.#options;
    const identity = { pid: process.pid, started: new Date().toISOString(), options: summary };
    return bind(place, { ...identity, version }, (token) => {
      this.#server = new RemoteServer({
        token,
        identity,
        onShutdown: (drain) => this.#end("by `glimpse down`", drain),
        onClients: (count) => this.#onClients(count),
      });
      return (socket) => this.#server.accept(socket);
    });
  }

  async run(binding: Binding): Promise<void> {
    const { signal, begin } = this.#options;
    const onSignal = () => this.#end("by a signal");
    signal.addEventListener("abort", onSignal);
    if (signal.aborted) onSignal();
    this.#log.write(`Glimpse ${version}, process ${process.pid}: ${JSON.stringify(this.#options.summary)}`);
    let transport: Transport | undefined;
    let ending = ended;
    try {
      await Promise.race([begin, this.#now.promise]);
      if (this.#server.clients === 0) this.#onClients(0);
      transport = await this.#start();
      await this.#serve(transport);
    } catch (error) {
      if (!GlimpseError.is(error)) throw error;
      if (!this.#starting.signal.aborted) ending = () => error;
    } finally {
      const error = ending(this.#reason ?? "by an unforeseen error");
      this.#log.write(`ending: ${error.message}`);
      this.#idle?.stop();
      this.#server.ending();
      this.#server.bye(error);
      await transport?.close();
      await binding.remove();
      signal.removeEventListener("abort", onSignal);
    }
  }

  #start(): Promise<Transport> {
    const onEvent = (event: WorkerEvent) => {
      const line = logLine(event);
      if (line !== undefined) this.#log.write(line);
      this.#server.publish(event);
    };
    return this.#options.start(onEvent, this.#starting.signal);
  }

  async #serve(transport: Transport): Promise<void> {
    this.#log.write("ready");
    this.#server.ready(transport);
    this.#idle = new IdleLimit(this.#options.idleMs, () => this.#end("because nobody was connected for long enough"));
    this.#idle.clients(this.#server.clients);
    const watcher = watch(this.#options.place.directory, () => this.#endIfUnreachable());
    watcher.on("error", () => {});
    await this.#asked.promise;
    watcher.close();
    this.#server.ending();
    await Promise.race([transport.drain(), this.#now.promise]);
  }

  #onClients(count: number): void {
    if (this.#idle === undefined) {
      if (count === 0) this.#end("because nobody waited for its start any more");
      return;
    }
    this.#idle.clients(count);
    this.#endIfUnreachable();
  }

  /** A runtime directory goes when its user logs out: what nobody can reach must not keep a GPU. */
  #endIfUnreachable(): void {
    if (this.#server.clients > 0 || existsSync(this.#options.place.socket)) return;
    this.#end("because its socket was removed");
  }

  #end(reason: string, drain = false): void {
    this.#reason ??= reason;
    this.#asked.resolve();
    // What has not started has nothing to finish.
    if (drain && this.#idle !== undefined) return;
    this.#starting.abort();
    this.#now.resolve();
  }
}

function ended(reason: string): GlimpseError {
  return new GlimpseError("CONNECTION_LOST", `the background orchestrator was ended ${reason}`, {
    hint: "Start it again with `npx glimpse up`, then connect() again.",
  });
}
