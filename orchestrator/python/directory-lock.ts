import { readFile, rename, rm, stat, utimes, writeFile } from "node:fs/promises";
import { hostname } from "node:os";
import { setTimeout as delay } from "node:timers/promises";

const pollMs = 200;
const refreshMs = 5_000;
/** For a holder on another machine or in another container, whose pid means nothing here. */
const silentMs = 30_000;

export interface LockOptions {
  signal?: AbortSignal | undefined;
  /** Called once, when another process holds the lock. */
  onWait?: ((holder: string) => void) | undefined;
}

/** Runs `work` while no other process that asks for the same lock file does. A lock whose holder is dead is taken over. */
export async function withLock<T>(path: string, options: LockOptions, work: () => Promise<T>): Promise<T> {
  await acquire(path, options);
  const refresh = setInterval(() => {
    const now = new Date();
    // A failed refresh is harmless: the pid still tells processes of this machine that the holder lives.
    utimes(path, now, now).catch(() => undefined);
  }, refreshMs).unref();
  try {
    return await work();
  } finally {
    clearInterval(refresh);
    await rm(path, { force: true });
  }
}

async function acquire(path: string, { signal, onWait }: LockOptions): Promise<void> {
  for (let waited = false; ; waited = true) {
    if (await create(path)) return;
    const holder = await readFile(path, "utf8").catch(() => undefined);
    if (holder === undefined) continue;
    if (await isAbandoned(path, holder)) {
      await discard(path, holder);
      continue;
    }
    if (!waited) onWait?.(holder);
    await delay(pollMs, undefined, { signal });
  }
}

async function create(path: string): Promise<boolean> {
  try {
    await writeFile(path, `${process.pid} ${hostname()}`, { flag: "wx" });
    return true;
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "EEXIST") return false;
    throw error;
  }
}

async function isAbandoned(path: string, holder: string): Promise<boolean> {
  const [pid, host] = holder.split(" ");
  if (host === hostname() && pid) return !isAlive(Number(pid));
  const { mtimeMs } = await stat(path).catch(() => ({ mtimeMs: Date.now() }));
  return Date.now() - mtimeMs > silentMs;
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return error instanceof Error && "code" in error && error.code === "EPERM";
  }
}

/** Moves the lock away before it is removed, so that of two that found it abandoned only one removes it. */
async function discard(path: string, abandoned: string): Promise<void> {
  const aside = `${path}.${process.pid}`;
  try {
    await rename(path, aside);
  } catch {
    return;
  }
  // Somebody was quicker, and this is already the new holder's.
  if ((await readFile(aside, "utf8")) !== abandoned) await rename(aside, path);
  else await rm(aside);
}
