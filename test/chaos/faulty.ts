import { existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { resolvePython } from "../../orchestrator/python/resolve.ts";

/** What a worker can be made to do to itself. After SIGSTOP whoever sends SIGCONT brings it back. */
export const allFaults = [
  "SIGKILL",
  "SIGSTOP",
  "SIGSEGV",
  "hang",
  "hang with the GIL",
  "out of memory",
  "babble",
  "exit",
] as const;
export type Fault = (typeof allFaults)[number];

const program = new URL("./faulty_worker.py", import.meta.url).pathname;

/** Makes the workers of `python` break where and when a test says so. */
export class FaultyWorkers {
  readonly python: string;
  readonly #folder: string;
  #holds = 0;

  private constructor(python: string, folder: string) {
    this.python = python;
    this.#folder = folder;
  }

  static async make(): Promise<FaultyWorkers> {
    const folder = mkdtempSync(join(tmpdir(), "faulty-"));
    const python = join(folder, "python");
    // `exec`, so that the process is the one that was spawned.
    const script = `#!/bin/sh\nexec "${await resolvePython()}" -P "${program}" "${folder}" "$@"\n`;
    writeFileSync(python, script, { mode: 0o755 });
    return new FaultyWorkers(python, folder);
  }

  /** The next process that gets there waits. Resolves with its pid when it does. */
  heldNext(place: "starting" | "loading"): Promise<number> {
    writeFileSync(join(this.#folder, `hold-${place}-${this.#holds++}`), "");
    return this.#held(new RegExp(`^held-${place}-(\\d+)$`));
  }

  /**
   * `pid` waits when it is asked to leave, before that token of any request, or before so many requests have all had it: so
   * that none can be over.
   */
  hold(pid: number, place: "shutdown" | `token-${number}` | `token-${number}-of-${number}`): void {
    writeFileSync(join(this.#folder, `hold-${pid}-${place}`), "");
  }

  /** As `hold`; resolves when it waits. */
  held(pid: number, place: "shutdown" | `token-${number}`): Promise<number> {
    this.hold(pid, place);
    return this.#held(new RegExp(`^held-${place}-(${pid})$`));
  }

  async #held(name: RegExp): Promise<number> {
    for (;;) {
      for (const file of readdirSync(this.#folder)) {
        const pid = name.exec(file)?.[1];
        if (pid === undefined) continue;
        rmSync(join(this.#folder, file));
        return Number(pid);
      }
      await delay(5);
    }
  }

  play(pid: number, fault: Fault): void {
    const file = join(this.#folder, `fault-${pid}`);
    writeFileSync(file, fault);
    if (!existsSync(`/proc/${pid}`)) throw new Error(`there is no process ${pid} that could play ${fault}`);
    process.kill(pid, "SIGUSR2");
  }
}
