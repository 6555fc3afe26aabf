import { randomUUID } from "node:crypto";
import { readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { readFile, stat, utimes, writeFile } from "node:fs/promises";
import { hostname } from "node:os";
import { setTimeout as delay } from "node:timers/promises";
import { isAlive } from "../is-alive.ts";

const pollMs = 200;
const guardPollMs = 10;
const refreshMs = 5_000;
/** A lock that has not been refreshed for so long has no holder any more, whoever has its pid now. */
const silentMs = 30_000;

interface LockOptions {
  signal?: AbortSignal | undefined;
  /** Called once, when another set-up holds the lock. */
  onWait?: ((holder: string) => void) | undefined;
}

/** What this process has written into locks, or is about to: another lock with its pid is of a process that is gone. */
const own = new Set<string>();

/** Runs `work` while nobody else who asks for the same lock file does. A lock whose holder is gone is taken over. */
export async function withLock<T>(path: string, options: LockOptions, work: () => Promise<T>): Promise<T> {
  const text = `${process.pid} ${hostname()} ${randomUUID()}`;
  own.add(text);
  try {
    await acquire(path, text, options);
    const refresh = setInterval(() => {
      const now = new Date();
      // A failed refresh is harmless: there are more before the others think that we are gone.
      utimes(path, now, now).catch(() => undefined);
    }, refreshMs).unref();
    try {
      return await work();
    } finally {
      clearInterval(refresh);
      await release(path, text);
    }
  } finally {
    own.delete(text);
  }
}

async function acquire(path: string, text: string, { signal, onWait }: LockOptions): Promise<void> {
  const silence = new Silence();
  let waited = false;
  for (let looks = 1; ; looks++) {
    signal?.throwIfAborted();
    if (await create(path, text)) return;
    const found = await look(path);
    if (found === undefined) continue;
    if (isLeftBehind(found.text) || silence.isTooLong(found)) {
      if (await change(path, found.text, text)) return;
      continue;
    }
    // A lock that is just being made has no text yet; one that never gets any belongs to nobody known.
    if (!waited && (found.text !== "" || looks > 1)) {
      const [pid = "", host] = found.text.split(" ");
      onWait?.(host === undefined ? "unknown" : `${pid} on ${host}`);
      waited = true;
    }
    await delay(pollMs, undefined, { signal });
  }
}

async function create(path: string, text: string): Promise<boolean> {
  try {
    await writeFile(path, text, { flag: "wx" });
    return true;
  } catch (error) {
    if (codeOf(error) === "EEXIST") return false;
    throw error;
  }
}

interface Lock {
  text: string;
  mtimeMs: number;
}

async function look(path: string): Promise<Lock | undefined> {
  try {
    const [text, { mtimeMs }] = await Promise.all([readFile(path, "utf8"), stat(path)]);
    return { text, mtimeMs };
  } catch (error) {
    if (codeOf(error) === "ENOENT") return undefined;
    throw error;
  }
}

/** Whether the pid tells that the holder is gone. It tells nothing of another machine's or another container's. */
function isLeftBehind(text: string): boolean {
  const [pid, host] = text.split(" ");
  if (!pid || host !== hostname()) return false;
  return Number(pid) === process.pid ? !own.has(text) : !isAlive(Number(pid));
}

/**
 * For how long a lock has not been refreshed. Measured by watching, not by the age of the file: clocks of file servers
 * differ, and when a sleeping machine wakes up, all locks are old.
 */
class Silence {
  #last: Lock = { text: "", mtimeMs: Number.NaN };
  #since = 0;

  isTooLong(lock: Lock): boolean {
    const now = performance.now();
    if (lock.text !== this.#last.text || lock.mtimeMs !== this.#last.mtimeMs) this.#since = now;
    this.#last = lock;
    return now - this.#since > silentMs;
  }
}

async function release(path: string, text: string): Promise<void> {
  // What somebody else has taken over by force is left to them.
  await change(path, text, undefined);
}

/**
 * Replaces the text of a lock, or removes the lock, if it still has the text `from`: of many that want to take over one
 * that was left behind, one does. Looking and changing is one step for everybody, since all who change a lock hold its
 * guard meanwhile, and at no moment is there none that somebody else could make anew.
 */
async function change(path: string, from: string, to: string | undefined): Promise<boolean> {
  const guard = `${path}.guard`;
  const silence = new Silence();
  for (;;) {
    const done = tryToChange(path, guard, from, to);
    if (done !== undefined) return done;
    const found = await look(guard);
    // Its holder died in the few system calls that it holds it for.
    if (found !== undefined && silence.isTooLong(found)) rmSync(guard, { force: true });
    await delay(guardPollMs);
  }
}

/** Undefined while another process holds the guard. Within this process nothing comes between: nothing is awaited. */
function tryToChange(path: string, guard: string, from: string, to: string | undefined): boolean | undefined {
  try {
    writeFileSync(guard, "", { flag: "wx" });
  } catch (error) {
    if (codeOf(error) === "EEXIST") return undefined;
    throw error;
  }
  try {
    if (readFileSync(path, "utf8") !== from) return false;
    if (to === undefined) {
      rmSync(path);
    } else {
      const next = `${path}.${randomUUID()}`;
      writeFileSync(next, to);
      renameSync(next, path);
    }
    return true;
  } catch (error) {
    if (codeOf(error) === "ENOENT") return false;
    throw error;
  } finally {
    rmSync(guard, { force: true });
  }
}

function codeOf(error: unknown): unknown {
  return error instanceof Error && "code" in error ? error.code : undefined;
}
