import type { CrashReport, WorkerEvent, WorkerInfo, WorkerStateName } from "../../orchestrator/events.ts";
import { type OrchestratorOptions, startOrchestrator } from "../../orchestrator/orchestrator.ts";
import { embeddedModel } from "../../orchestrator/package-root.ts";
import type { Limits } from "../../orchestrator/supervision/limits.ts";
import type { Submission, Transport } from "../../orchestrator/transport.ts";
import type { EngineChoice } from "../../protocol/messages.ts";
import { FaultyWorkers } from "./faulty.ts";
import { Recorded } from "./recorded.ts";

/** Short, so that a hang costs a test half a second, and long enough for a healthy worker on two busy cores. */
export const shortLimits = {
  heartbeatMs: 50,
  helloMs: 2_000,
  loadingMs: 800,
  loadingSilenceMs: 500,
  silenceMs: 500,
  stepMs: 400,
  dumpMs: 100,
  leaveMs: 300,
  killMs: 1_000,
  backoffMs: 10,
  backoffMaxMs: 50,
} as const satisfies Partial<Limits>;

/** Wakes those who wait for something to be so. */
class Changes {
  #waiting = new Set<() => void>();
  #told = false;

  /** Once per turn of the event loop: by then what the event announces can be seen. */
  tell(): void {
    if (this.#told) return;
    this.#told = true;
    setImmediate(() => {
      this.#told = false;
      for (const look of [...this.#waiting]) look();
    });
  }

  until(condition: () => boolean): Promise<void> {
    return new Promise((resolve) => {
      const look = () => {
        if (!condition()) return;
        this.#waiting.delete(look);
        resolve();
      };
      this.#waiting.add(look);
      look();
    });
  }
}

/** A pool whose workers can be made to break, and everything that has happened in it. */
export class Pool implements AsyncDisposable {
  readonly transport: Transport;
  readonly faulty: FaultyWorkers;
  readonly events: readonly WorkerEvent[];
  readonly #changes: Changes;

  private constructor(transport: Transport, faulty: FaultyWorkers, events: WorkerEvent[], changes: Changes) {
    this.transport = transport;
    this.faulty = faulty;
    this.events = events;
    this.#changes = changes;
  }

  static async start(
    options: Partial<OrchestratorOptions> & { engine?: EngineChoice; workers: number },
  ): Promise<Pool> {
    const { engine = { kind: "scripted", load: "normal" }, ...others } = options;
    const events: WorkerEvent[] = [];
    const changes = new Changes();
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
        changes.tell();
      },
    });
    return new Pool(transport, faulty, events, changes);
  }

  submit(what: string, submission: Omit<Submission, "id">): Recorded {
    return new Recorded(this.transport, what, submission, () => this.#changes.tell());
  }

  /** Submits one of the scripted engine's behaviours, such as "slow 200". */
  play(script: string, options: Partial<Submission["options"]> = {}): Recorded {
    const messages = [{ role: "user" as const, content: [{ type: "text" as const, text: script }] }];
    return this.submit(script, { messages, media: [], frames: [], options: { seed: 1, ...options } });
  }

  /** Resolves when `condition` holds, which is looked at now and after every event of a worker or a request. */
  until(condition: () => boolean): Promise<void> {
    return this.#changes.until(condition);
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
