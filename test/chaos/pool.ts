import type { CrashReport, WorkerEvent, WorkerInfo, WorkerStateName } from "../../orchestrator/events.ts";
import { type OrchestratorOptions, startOrchestrator } from "../../orchestrator/orchestrator.ts";
import { embeddedModel } from "../../orchestrator/package-root.ts";
import type { Limits } from "../../orchestrator/supervision/limits.ts";
import type { Transport } from "../../orchestrator/transport.ts";
import type { EngineChoice } from "../../protocol/messages.ts";
import { FaultyWorkers } from "./faulty.ts";

/** Short, so that a hang costs a test half a second, and long enough for a healthy worker on two busy cores. */
export const shortLimits: Partial<Limits> = {
  heartbeatMs: 50,
  helloMs: 3_000,
  loadingMs: 1_000,
  loadingSilenceMs: 1_000,
  silenceMs: 600,
  stepMs: 500,
  dumpMs: 100,
  killMs: 1_000,
  backoffMs: 10,
  backoffMaxMs: 50,
};

/** A pool whose workers can be made to break, and everything that has happened in it. */
export class Pool implements AsyncDisposable {
  readonly transport: Transport;
  readonly faulty: FaultyWorkers;
  readonly events: readonly WorkerEvent[];
  readonly #waiting: Set<() => void>;

  private constructor(transport: Transport, faulty: FaultyWorkers, events: WorkerEvent[], waiting: Set<() => void>) {
    this.transport = transport;
    this.faulty = faulty;
    this.events = events;
    this.#waiting = waiting;
  }

  static async start(
    options: Partial<OrchestratorOptions> & { engine?: EngineChoice; workers: number },
  ): Promise<Pool> {
    const { engine = { kind: "scripted", load: "normal" }, ...others } = options;
    const events: WorkerEvent[] = [];
    const waiting = new Set<() => void>();
    const faulty = await FaultyWorkers.make();
    const transport = await startOrchestrator({
      python: faulty.python,
      settings: {
        model: engine.kind === "scripted" ? "scripted" : embeddedModel,
        device: "cpu",
        dtype: "auto",
        engine,
      },
      limits: shortLimits,
      ...others,
      onEvent: (event) => {
        events.push(event);
        for (const look of [...waiting]) look();
      },
    });
    return new Pool(transport, faulty, events, waiting);
  }

  /** Resolves when `condition` holds, which is looked at now and after every event of the workers. */
  async until(condition: () => boolean): Promise<void> {
    if (condition()) return;
    await new Promise<void>((resolve) => {
      const look = () => {
        // The event comes before what `workers()` says has changed.
        setImmediate(() => {
          if (!condition()) return;
          this.#waiting.delete(look);
          resolve();
        });
      };
      this.#waiting.add(look);
    });
  }

  losses(): CrashReport[] {
    return this.events.flatMap((event) => (event.type === "lost" ? event.report : []));
  }

  /** Resolves with the report of the loss of that process. */
  async lossOf(pid: number): Promise<CrashReport> {
    const found = () => this.losses().find((report) => report.pid === pid);
    await this.until(() => found() !== undefined);
    return found() as CrashReport;
  }

  workersIn(...states: readonly WorkerStateName[]): WorkerInfo[] {
    return this.transport.workers().filter(({ state }) => states.includes(state));
  }

  worker(id: string): WorkerInfo {
    const found = this.transport.workers().find((worker) => worker.id === id);
    if (found === undefined) throw new Error(`there is no worker ${id}`);
    return found;
  }

  /** Resolves when all workers are ready. */
  async allReady(): Promise<void> {
    await this.until(() => this.transport.workers().every(({ state }) => state === "ready"));
  }

  close(): Promise<void> {
    return this.transport.close();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}

export function pidOf({ id, pid }: WorkerInfo): number {
  if (pid === undefined) throw new Error(`${id} has no process`);
  return pid;
}
