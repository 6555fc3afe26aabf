import { GlimpseError } from "../protocol/errors.ts";
import type { ControlFromWorker, DataFromWorker, HeartbeatMessage, ReadyMessage } from "../protocol/messages.ts";
import { Board } from "./board.ts";
import { cannotStart, describeLoss } from "./crash-report.ts";
import { Deferred } from "./deferred.ts";
import { type Placement, placedOn } from "./devices/place.ts";
import type { CrashReport, LossCause, WorkerEvent, WorkerInfo, WorkerStateName } from "./events.ts";
import type { ExitReason } from "./exit-reason.ts";
import type { Request } from "./request.ts";
import type { Candidate } from "./requests/route.ts";
import { Alarm } from "./supervision/alarm.ts";
import { type Limits, stepLimit } from "./supervision/limits.ts";
import {
  nextTick,
  type SupervisorAction,
  type SupervisorEvent,
  shownState,
  supervise,
  unstarted,
} from "./supervision/supervisor.ts";
import { Worker, type WorkerSettings } from "./worker.ts";

export interface SlotOptions {
  id: string;
  python: string;
  placement: Placement;
  settings: Omit<WorkerSettings, "device" | "heartbeatMs" | "threads">;
  limits: Limits;
  /**
   * Resolves when the memory of a worker that has ended is back, or is not expected any more; at once when the signal
   * fires.
   */
  memoryBack: (signal: AbortSignal) => Promise<{ heldBy: readonly number[] }>;
}

export interface SlotListener {
  onEvent(event: WorkerEvent): void;
  onData(slot: Slot, message: DataFromWorker): void;
  /** It has room, or more room than before. */
  onRoom(): void;
  /** Requests that were on board of a worker that is no more. */
  onLost(requests: readonly Request[], report: CrashReport): void;
  /** No further process is started. */
  onFailed(error: GlimpseError): void;
}

/** A place for one worker: holds its process, replaces it, and knows what is on board. */
export class Slot {
  readonly id: string;
  readonly board = new Board();
  readonly #options: SlotOptions;
  readonly #listener: SlotListener;
  readonly #alarm: Alarm;
  readonly #closing = new AbortController();
  #supervised = unstarted;
  #spawning: Promise<Worker> | undefined;
  #worker: Worker | undefined;
  #ready: ReadyMessage | undefined;
  #heartbeat: HeartbeatMessage | undefined;
  /** Since when its heartbeats, and nothing else, say that nothing is on board although something is. */
  #unawareSince: number | undefined;
  #exit: ExitReason | undefined;
  /** What the present worker said of its end, or what was found in what it sent. */
  #said: GlimpseError | undefined;
  #lastReport: CrashReport | undefined;
  readonly #awaitingReady: Deferred<void>[] = [];

  constructor(options: SlotOptions, listener: SlotListener) {
    this.id = options.id;
    this.#options = options;
    this.#listener = listener;
    this.#alarm = new Alarm((lateMs) => this.#tell({ type: "tick", lateMs }));
  }

  /** Starts the first process. Resolves when it is ready, rejects when no further one is started. */
  start(): Promise<void> {
    const ready = this.#nextReady();
    this.#tell({ type: "start" });
    return ready;
  }

  /**
   * Puts a new process in the place of the present one, which finishes what is on board; one that was given up is tried
   * again. Resolves when the new one is ready.
   */
  replace(): Promise<void> {
    const ready = this.#nextReady();
    this.#tell({ type: this.state === "failed" ? "start" : "drain" });
    if (this.board.isEmpty) this.#tell({ type: "drained" });
    return ready;
  }

  /** Resolves when there is no process. */
  async close(): Promise<void> {
    this.#closing.abort();
    this.#tell({ type: "close" });
    this.#alarm.stop();
    const worker = await this.#spawning?.catch(() => undefined);
    await worker?.letLeave();
    const closed = new GlimpseError("DISPOSED", "the client was closed");
    for (const ready of this.#awaitingReady.splice(0)) ready.reject(closed);
  }

  get state(): WorkerStateName {
    return shownState(this.#supervised.life);
  }

  get readyMessage(): ReadyMessage | undefined {
    return this.#ready;
  }

  /** Undefined while it takes no requests. */
  candidate(keys: readonly string[]): Candidate | undefined {
    if (this.state !== "ready" || this.#ready === undefined || this.#worker?.isGone !== false) return undefined;
    return this.board.candidate(this.id, this.#ready.slots, keys);
  }

  /** @throws GlimpseError PROTOCOL_ERROR when the request cannot be packed; it is not on board then. */
  take(request: Request, keys: readonly string[]): void {
    this.board.enter(request, keys);
    try {
      this.#worker?.request(request.board(), request.submission.frames);
    } catch (error) {
      this.board.leave(request.id);
      throw error;
    }
  }

  cancel(request: Request): void {
    this.#worker?.cancel(request.id, request.attempt);
  }

  /** A request has left the board: a worker that drains may be done. */
  left(): void {
    if (this.board.isEmpty) this.#tell({ type: "drained" });
  }

  info(): WorkerInfo {
    const ready = this.#ready;
    return {
      id: this.id,
      generation: this.#supervised.generation,
      pid: this.#exit === undefined ? this.#worker?.pid : undefined,
      state: this.state,
      exit: this.#exit,
      placement: placedOn(this.#options.placement, ready?.device),
      load: this.board.load(),
      heartbeat: this.#heartbeat && withoutType(this.#heartbeat),
      device: ready?.device,
      model: ready?.model,
      engine: ready?.engine,
      dtype: ready?.dtype,
      contextLength: ready?.contextLength,
      slots: ready?.slots,
      kvCacheTokens: ready?.kvCacheTokens,
      versions: ready?.versions,
    };
  }

  #nextReady(): Promise<void> {
    const ready = new Deferred<void>();
    this.#awaitingReady.push(ready);
    return ready.promise;
  }

  #tell(event: SupervisorEvent): void {
    const now = performance.now();
    const { limits } = this.#options;
    const before = this.state;
    const [next, actions] = supervise(this.#supervised, event, now, { limits, random: Math.random });
    this.#supervised = next;
    this.#alarm.set(nextTick(next.life, limits));
    for (const action of actions) this.#perform(action);
    if (next === this.#supervised && this.state !== before) this.#announce();
  }

  #announce(): void {
    const { generation } = this.#supervised;
    this.#listener.onEvent({ type: "state", worker: this.id, generation, state: this.state });
    if (this.state === "ready") this.#listener.onRoom();
  }

  #perform(action: SupervisorAction): void {
    switch (action.type) {
      case "spawn":
        return this.#spawn(action.generation);
      case "dump":
        return this.#withWorker((worker) => worker.dump());
      case "kill":
        return this.#withWorker((worker) => worker.kill());
      case "let leave":
        return this.#withWorker((worker) => worker.letLeave());
      case "shut down":
        return this.#withWorker((worker) => worker.shutDown());
      case "lose":
        return this.#lose(action.cause, action.was);
      case "await memory":
        void this.#awaitMemory();
        return;
      case "announce restart": {
        const { inMs, failures } = action;
        return this.#listener.onEvent({ type: "restart", worker: this.id, inMs, failures });
      }
      case "give up":
        return this.#giveUp();
      default:
        return action satisfies never;
    }
  }

  /** Its sockets may still be in the making; if they cannot be made, `#spawn` hears of it. */
  #withWorker(act: (worker: Worker) => unknown): void {
    void this.#spawning?.then(act, () => {});
  }

  #spawn(generation: number): void {
    this.#ready = undefined;
    this.#heartbeat = undefined;
    this.#unawareSince = undefined;
    this.#exit = undefined;
    this.#said = undefined;
    this.#worker = undefined;
    const { python, placement, settings } = this.#options;
    const { heartbeatMs, leaveMs, killMs } = this.#options.limits;
    const { device, threads, env } = placement;
    this.#spawning = Worker.start(
      { generation, python, env, leaveMs, killMs, settings: { ...settings, device, threads, heartbeatMs } },
      {
        onControl: (message) => this.#onControl(message),
        onData: (message) => {
          this.#unawareSince = undefined;
          this.#listener.onData(this, message);
        },
        onLog: (log) => this.#listener.onEvent({ type: "log", worker: this.id, ...log }),
        onBabble: (error) => {
          this.#said = error;
          this.#tell({ type: "babbled" });
        },
        onExit: (exit) => this.#exited(exit),
      },
    );
    this.#spawning.then(
      (worker) => {
        this.#worker = worker;
      },
      (error: GlimpseError) => {
        this.#said = error;
        this.#exited({ kind: "not-spawned", message: error.message });
      },
    );
  }

  #exited(exit: ExitReason): void {
    this.#exit = exit;
    this.#tell({ type: "exited" });
  }

  #onControl(message: ControlFromWorker): void {
    switch (message.type) {
      case "hello":
        return this.#tell({ type: "hello" });
      case "loading":
        this.#tell({ type: "progress" });
        return this.#listener.onEvent({ ...message, worker: this.id });
      case "ready":
        return this.#onReady(message);
      case "heartbeat":
        this.#heartbeat = message;
        return this.#tell({ type: "heartbeat", stepAgeMs: this.#stepAgeMs(message) });
      case "failed": {
        this.#said = new GlimpseError(message.code, message.message, message);
        return this.#tell({ type: "gave up" });
      }
      case "fault":
        // It leaves by itself; what it still has to say on the data channel comes before its exit.
        this.#said = new GlimpseError("WORKER_LOST", message.message);
        return this.#tell({ type: "gave up" });
      default:
        return message satisfies never;
    }
  }

  /** A worker that knows of no request while some are on board has lost them: that is a step which nobody ends. */
  #stepAgeMs({ phase, ageMs, running, waiting }: HeartbeatMessage): number | undefined {
    if (running + waiting > 0 || this.board.isEmpty) this.#unawareSince = undefined;
    else this.#unawareSince ??= performance.now();
    if (phase === "step") return ageMs;
    return this.#unawareSince === undefined ? undefined : performance.now() - this.#unawareSince;
  }

  #onReady(message: ReadyMessage): void {
    // While its end is decided, or once it serves, it is too late for that.
    if (this.state !== "loading") return;
    this.#ready = message;
    this.#tell({ type: "ready", stepMs: stepLimit(this.#options.limits, message.device.kind) });
    for (const ready of this.#awaitingReady.splice(0)) ready.resolve();
  }

  #lose(cause: LossCause, was: WorkerStateName): void {
    const report = this.#report(cause, was);
    const requests = this.board.clear();
    this.#listener.onEvent({ type: "lost", worker: this.id, report });
    this.#lastReport = report;
    this.#listener.onLost(requests, report);
  }

  #report(cause: LossCause, state: WorkerStateName): CrashReport {
    const exit = this.#exit ?? { kind: "signalled", signal: "SIGKILL" };
    return {
      worker: this.id,
      generation: this.#supervised.generation,
      pid: this.#worker?.pid,
      cause,
      exit,
      message: describeLoss(this.id, { cause, exit, state, words: this.#said?.message }),
      state,
      stderr: this.#worker?.stderrTail() ?? [],
      stacks: this.#worker?.stacks(),
      running: this.board.running(),
    };
  }

  async #awaitMemory(): Promise<void> {
    // The next worker tells better than a tool that breaks whether there is room.
    const { heldBy } = await this.#options.memoryBack(this.#closing.signal).catch(() => ({ heldBy: [] }));
    if (this.#closing.signal.aborted) return;
    if (heldBy.length > 0) {
      const { label } = this.#options.placement;
      this.#listener.onEvent({ type: "memory held", worker: this.id, device: label, processes: heldBy });
    }
    this.#tell({ type: "memory settled" });
  }

  #giveUp(): void {
    const report = this.#lastReport ?? this.#report("exited", "starting");
    this.#said = cannotStart(report, this.#options.python, this.#said);
    for (const ready of this.#awaitingReady.splice(0)) ready.reject(this.#said);
    this.#listener.onFailed(this.#said);
  }
}

function withoutType({ type: _, ...heartbeat }: HeartbeatMessage): Omit<HeartbeatMessage, "type"> {
  return heartbeat;
}
