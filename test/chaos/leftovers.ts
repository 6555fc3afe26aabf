import { randomUUID } from "node:crypto";
import { mkdtempSync, readdirSync, readFileSync, readlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";

/** What a process that ended cleanly leaves: nothing more than there was before. */
interface Holdings {
  /** Those that were started from here, grandchildren and guards too. */
  processes: readonly string[];
  directories: readonly string[];
  /** How many open file descriptors there are of each kind: socket, pipe, anon_inode:[eventfd] … */
  descriptors: Readonly<Record<string, number>>;
}

const MARK = "GLIMPSE_TEST_MARK";

/**
 * Watches what this process holds. Make it before the first worker: its mark is in the environment of all that is started
 * from then on, and TMPDIR is a directory of its own.
 */
export class Census {
  readonly mark: string = randomUUID();
  #before: Holdings | undefined;

  constructor() {
    process.env[MARK] = this.mark;
    process.env["TMPDIR"] = mkdtempSync(join(tmpdir(), "chaos-"));
  }

  /** Call it when a first pool has been started and closed: libzmq keeps its own threads' descriptors for ever. */
  begin(): void {
    this.#before = this.#holdings();
  }

  /** What is left that was not there when it began; empty when nothing is. The kernel gets two seconds to tidy up. */
  async leftovers(): Promise<string[]> {
    const until = performance.now() + 2_000;
    for (;;) {
      const found = this.#differences();
      if (found.length === 0 || performance.now() > until) return found;
      await delay(20);
    }
  }

  #differences(): string[] {
    const [before, now] = [this.#before, this.#holdings()];
    if (before === undefined) throw new Error("begin() was not called");
    const kinds = Object.keys({ ...before.descriptors, ...now.descriptors });
    const more = kinds.filter((kind) => (now.descriptors[kind] ?? 0) > (before.descriptors[kind] ?? 0));
    return [
      ...now.processes.map((process) => `process ${process}`),
      ...now.directories.map((directory) => `directory ${directory}`),
      ...more.map(
        (kind) => `descriptors: ${before.descriptors[kind] ?? 0} before, ${now.descriptors[kind]} now, ${kind}`,
      ),
    ];
  }

  #holdings(): Holdings {
    const names = readdirSync(tmpdir());
    return {
      processes: marked(this.mark).map((pid) => `${pid} (${commandOf(pid)})`),
      directories: names.filter((name) => name.startsWith("glimpse-")),
      descriptors: openDescriptors(),
    };
  }
}

/** The processes with `mark` in their environment: what was started with it and all that those have started. */
export function marked(mark: string): number[] {
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name) && name !== String(process.pid))
    .filter((pid) => read(`/proc/${pid}/environ`).includes(mark))
    .map(Number);
}

/** A process that has ended has no command line, not even as a zombie. */
export function commandOf(pid: number): string {
  return read(`/proc/${pid}/cmdline`).replaceAll("\0", " ").trim();
}

/** `T` when it is stopped, `Z` when it only waits to be reaped; undefined when there is no such process. */
export function processState(pid: number): string | undefined {
  return /^State:\s+(\S)/m.exec(read(`/proc/${pid}/status`))?.[1];
}

function read(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    // It ended while we looked.
    return "";
  }
}

function openDescriptors(): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const name of readdirSync("/proc/self/fd")) {
    const kind = kindOf(name);
    if (kind !== undefined) counts[kind] = (counts[kind] ?? 0) + 1;
  }
  return counts;
}

/** Undefined for the one that read the directory, and is closed by now. */
function kindOf(descriptor: string): string | undefined {
  try {
    return readlinkSync(`/proc/self/fd/${descriptor}`).replace(/:\[\d+\]$/, "");
  } catch {
    return undefined;
  }
}
