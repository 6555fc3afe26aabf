import { randomUUID } from "node:crypto";
import { link, readFile, rename, rm, stat, utimes, writeFile } from "node:fs/promises";
import { hostname } from "node:os";
import { setTimeout as delay } from "node:timers/promises";

const pollMs = 200;
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
      await discard(path, text);
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
      await discard(path, found.text);
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

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return codeOf(error) === "EPERM";
  }
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

/** Moves the lock away before it is removed, so that of two that want to remove it only one does. */
async function discard(path: string, text: string): Promise<void> {
  const aside = `${path}.${randomUUID()}`;
  try {
    await rename(path, aside);
  } catch (error) {
    if (codeOf(error) === "ENOENT") return;
    throw error;
  }
  // Somebody was quicker, and this is the new holder's. Linking does not replace one that was made meanwhile.
  if ((await readFile(aside, "utf8")) !== text) await link(aside, path).catch(() => undefined);
  await rm(aside);
}

function codeOf(error: unknown): unknown {
  return error instanceof Error && "code" in error ? error.code : undefined;
}
