import { rmSync } from "node:fs";
import { lstat, mkdtemp, readdir, rm, rmdir, unlink } from "node:fs/promises";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { GlimpseError } from "../protocol/errors.ts";

const PREFIX = "glimpse-";
/** What mkdtemp makes of the prefix. */
const OWN_NAME = /^glimpse-[A-Za-z0-9]{6}$/;
const SOCKETS = ["control", "data"];
/** A Unix socket's path may have 107 bytes on Linux and 103 on macOS. */
const LONGEST_SOCKET_PATH = 103;
const LONGEST_NAME = "/glimpse-XXXXXX/control".length;
/** Younger directories may belong to an orchestrator that is about to bind its sockets. */
const STALE_AFTER_MS = 5_000;
/** So long it may be held up before it does. */
const EMPTY_STALE_AFTER_MS = 60_000;

export interface SocketDirectory {
  control: string;
  data: string;
  remove(): Promise<void>;
}

/** Those of this process; what is left of them goes with it. */
const ours = new Set<string>();

function removeOurs(): void {
  for (const directory of ours) rmSync(directory, { recursive: true, force: true });
}

/**
 * A directory that only this user can enter (0700), with a fresh name for each call.
 * @throws GlimpseError WORKER_START_FAILED when it cannot be made.
 */
export async function makeSocketDirectory(): Promise<SocketDirectory> {
  const parent = tmpdir().length + LONGEST_NAME <= LONGEST_SOCKET_PATH ? tmpdir() : "/tmp";
  const directory = await mkdtemp(join(parent, PREFIX)).catch((cause: unknown) => {
    throw new GlimpseError("WORKER_START_FAILED", `no directory for the worker's sockets can be made in ${parent}`, {
      hint: "Let TMPDIR name a directory that exists and can be written.",
      cause,
    });
  });
  if (ours.size === 0) process.once("exit", removeOurs);
  ours.add(directory);
  await removeStaleDirectories(parent);
  return {
    control: join(directory, "control"),
    data: join(directory, "data"),
    async remove() {
      await rm(directory, { recursive: true, force: true });
      ours.delete(directory);
      if (ours.size === 0) process.off("exit", removeOurs);
    },
  };
}

/** An orchestrator killed with SIGKILL leaves its directory behind: the next one takes it away. */
async function removeStaleDirectories(parent: string): Promise<void> {
  const all = await readdir(parent).catch(() => []);
  const names = all.filter((name) => OWN_NAME.test(name));
  await Promise.all(
    names.map(async (name) => {
      try {
        await removeIfStale(join(parent, name));
      } catch {
        // Another process removes it at the same time; and a launch does not fail for want of tidiness.
      }
    }),
  );
}

/** Takes away sockets that nobody answers, one by one: whatever else is there keeps its directory alive. */
async function removeIfStale(directory: string): Promise<void> {
  const stats = await lstat(directory);
  const isOurs = stats.isDirectory() && stats.uid === process.getuid?.() && (stats.mode & 0o777) === 0o700;
  if (!isOurs) return;
  const names = await readdir(directory);
  const staleAfter = names.length === 0 ? EMPTY_STALE_AFTER_MS : STALE_AFTER_MS;
  if (Date.now() - stats.mtimeMs < staleAfter) return;
  if (!names.every((name) => SOCKETS.includes(name))) return;
  for (const name of names) {
    const path = join(directory, name);
    if (!(await lstat(path)).isSocket() || (await answers(path))) return;
    await unlink(path);
  }
  await rmdir(directory);
}

/** A pid would mislead where containers share the directory; a socket that nobody listens on refuses at once. */
export function answers(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(path);
    socket.once("connect", () => {
      socket.destroy();
      resolve(true);
    });
    socket.once("error", () => resolve(false));
  });
}
