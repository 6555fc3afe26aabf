import { rmSync } from "node:fs";
import { lstat, mkdtemp, readdir, rm } from "node:fs/promises";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";

const PREFIX = "glimpse-";
/** A Unix socket's path may have 107 bytes on Linux and 103 on macOS. */
const LONGEST_SOCKET_PATH = 103;
const LONGEST_NAME = "/glimpse-XXXXXX/control".length;
/** Younger directories may belong to an orchestrator that has not bound its sockets yet. */
const STALE_AFTER_MS = 60_000;

export interface SocketDirectory {
  control: string;
  data: string;
  remove(): Promise<void>;
}

/** A directory that only this user can enter (0700), with a fresh name for each call. */
export async function makeSocketDirectory(): Promise<SocketDirectory> {
  const parent = tmpdir().length + LONGEST_NAME <= LONGEST_SOCKET_PATH ? tmpdir() : "/tmp";
  await removeStaleDirectories(parent);
  const directory = await mkdtemp(join(parent, PREFIX));
  const removeAtExit = () => rmSync(directory, { recursive: true, force: true });
  process.once("exit", removeAtExit);
  return {
    control: join(directory, "control"),
    data: join(directory, "data"),
    async remove() {
      process.off("exit", removeAtExit);
      await rm(directory, { recursive: true, force: true });
    },
  };
}

/** An orchestrator killed with SIGKILL leaves its directory behind: the next one takes it away. */
async function removeStaleDirectories(parent: string): Promise<void> {
  const names = (await readdir(parent)).filter((name) => name.startsWith(PREFIX));
  await Promise.all(
    names.map(async (name) => {
      const directory = join(parent, name);
      if (await isStale(directory)) await rm(directory, { recursive: true, force: true });
    }),
  );
}

async function isStale(directory: string): Promise<boolean> {
  try {
    const stats = await lstat(directory);
    if (!stats.isDirectory() || stats.uid !== process.getuid?.()) return false;
    if (Date.now() - stats.mtimeMs < STALE_AFTER_MS) return false;
    return (await readdir(directory)).includes("control") && !(await answers(join(directory, "control")));
  } catch {
    // Another process removes it at the same time.
    return false;
  }
}

/** A pid would mislead where containers share the directory; a socket that nobody listens on refuses at once. */
function answers(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(path);
    socket.once("connect", () => {
      socket.destroy();
      resolve(true);
    });
    socket.once("error", () => resolve(false));
  });
}
