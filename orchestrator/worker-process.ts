import { delimiter } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { execa } from "execa";
import type { StartMessage } from "../protocol/messages.ts";
import type { ExitReason } from "./exit-reason.ts";
import { workerSource } from "./package-root.ts";

export interface LogLine {
  stream: "stdout" | "stderr";
  line: string;
}

const KEPT_LINES = 20;
/** Of a dump: some threads with their frames. */
const KEPT_DUMP_LINES = 1_000;

/** The child itself: the only place that spawns, signals or reaps a worker. */
export class WorkerProcess {
  readonly pid: number | undefined;
  readonly exited: Promise<ExitReason>;
  readonly #stderr: string[] = [];
  readonly #limits: { leaveMs: number; killMs: number };
  readonly #letGo: () => void;
  #dump: string[] | undefined;

  /**
   * `env` is added to the environment of this process; `leaveMs` is how long each step of `stop` waits before the next,
   * harsher one, and `killMs` how long the last one.
   */
  constructor(
    python: string,
    { env, ...limits }: { env: Readonly<Record<string, string>>; leaveMs: number; killMs: number },
    start: StartMessage,
    onLog: (log: LogLine) => void,
  ) {
    this.#limits = limits;
    const child = execa(python, ["-P", "-m", "glimpse_worker"], {
      // Its own process group, so that `stop` reaches its children as well, and Ctrl-C in a terminal only us.
      detached: true,
      stdin: "pipe",
      // A worker logs for as long as it lives: nothing is kept but the tail below.
      buffer: false,
      reject: false,
      env: { ...workerEnvironment(), ...env },
    });
    this.pid = child.pid;
    this.exited = new Promise((resolve) => {
      child.once("exit", (code, signal) => resolve(exitReason(code, signal)));
      void child.then((result) => {
        if (this.pid === undefined) resolve({ kind: "not-spawned", message: result.shortMessage ?? "unknown reason" });
      });
    });
    // A worker that dies at once closes its end: `exited` tells, the broken pipe adds nothing.
    child.stdin.on("error", () => {});
    // stdin stays open: its end tells the worker that we are gone.
    child.stdin.write(`${JSON.stringify(start)}\n`);
    for (const stream of ["stdout", "stderr"] as const) {
      void this.#read(child.iterable({ from: stream }), stream, onLog);
    }
    void this.exited.then(() => this.#signal("SIGKILL"));
    this.#letGo = () => {
      child.unref();
      for (const stream of child.stdio) stream?.destroy();
    };
  }

  async #read(lines: AsyncIterable<string>, stream: LogLine["stream"], onLog: (log: LogLine) => void) {
    try {
      for await (const line of lines) {
        if (stream === "stderr") this.#keep(line);
        onLog({ stream, line });
      }
    } catch {
      // `letGo` was called.
    }
  }

  #keep(line: string): void {
    if (this.#dump !== undefined && this.#dump.length < KEPT_DUMP_LINES) this.#dump.push(line);
    else if (this.#stderr.push(line) > KEPT_LINES) this.#stderr.shift();
  }

  /** The last lines that the worker wrote to stderr, before its stacks were asked for. */
  stderrTail(): readonly string[] {
    return [...this.#stderr];
  }

  /** Asks for the stacks of all threads. The worker takes this signal for it from before its hello on. */
  dump(): void {
    if (this.pid === undefined) return;
    this.#dump ??= [];
    kill(this.pid, "SIGUSR1");
  }

  /** What the worker wrote after `dump`; undefined when it wrote nothing. */
  stacks(): string | undefined {
    return this.#dump === undefined || this.#dump.length === 0 ? undefined : this.#dump.join("\n");
  }

  /**
   * Waits for the process to leave by itself, then SIGTERM, then SIGKILL, to the whole process group. Whether it is gone
   * then: a process that waits inside a driver survives even that.
   */
  async stop(): Promise<boolean> {
    const { leaveMs, killMs } = this.#limits;
    if (await this.#exitsWithin(leaveMs)) return true;
    this.#signal("SIGTERM");
    if (await this.#exitsWithin(leaveMs)) return true;
    this.kill();
    return this.#exitsWithin(killMs);
  }

  /** From now on it keeps this process no longer alive, nor does anybody to whom it has handed its stdout or stderr. */
  letGo(): void {
    this.#letGo();
  }

  kill(): void {
    this.#signal("SIGKILL");
  }

  async #exitsWithin(milliseconds: number): Promise<boolean> {
    const timer = new AbortController();
    const timeout = delay(milliseconds, false, { signal: timer.signal }).catch(() => false);
    const exited = await Promise.race([this.exited.then(() => true), timeout]);
    timer.abort();
    return exited;
  }

  #signal(signal: NodeJS.Signals): void {
    if (this.pid !== undefined) kill(-this.pid, signal);
  }
}

/** A negative `pid` names a process group. */
function kill(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch (error) {
    // ESRCH: nobody of the group is left. EPERM: macOS's answer for a group of which only zombies are left.
    const { code } = error as NodeJS.ErrnoException;
    if (code !== "ESRCH" && code !== "EPERM") throw error;
  }
}

function exitReason(code: number | null, signal: NodeJS.Signals | null): ExitReason {
  return signal === null ? { kind: "exited", code: code ?? 0 } : { kind: "signalled", signal };
}

function workerEnvironment(): NodeJS.ProcessEnv {
  const inherited = process.env["PYTHONPATH"];
  return {
    PYTHONPATH: inherited ? `${workerSource}${delimiter}${inherited}` : workerSource,
    PYTHONUNBUFFERED: "1",
    PYTHONUTF8: "1",
    HF_HUB_DISABLE_TELEMETRY: "1",
  };
}
