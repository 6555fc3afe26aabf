import { lstatSync, mkdirSync, type Stats } from "node:fs";
import { tmpdir } from "node:os";
import { isAbsolute, join } from "node:path";
import { GlimpseError } from "../../protocol/errors.ts";

export const defaultName = "default";

/** A Unix socket's path may have 107 bytes on Linux and 103 on macOS. */
const LONGEST_SOCKET_PATH = 103;
const NAME = /^[A-Za-z0-9][A-Za-z0-9_-]{0,31}$/;

/** The files of one background orchestrator. Node cannot ask a socket who its peer is: the directory's mode and the token protect it. */
export interface Place {
  name: string;
  /** 0700, the user's own. */
  directory: string;
  socket: string;
  /** What a client has to show; 0600. */
  token: string;
  state: string;
  lock: string;
  log: string;
}

/**
 * Where the background orchestrator `name` of this user is to be found, whether or not it runs: in
 * `$XDG_RUNTIME_DIR/glimpse`, or in a directory of the user's own under the one for temporary files.
 * @throws GlimpseError INVALID_REQUEST for what cannot be a name.
 */
export function placeOf(name: string = defaultName, env = process.env): Place {
  if (!NAME.test(name)) {
    throw new GlimpseError(
      "INVALID_REQUEST",
      `name: expected up to 32 letters, digits, "-" and "_", got ${JSON.stringify(name.slice(0, 60))}`,
    );
  }
  const directory = directoryFor(`/${name}.socket`, env);
  const file = (ending: string) => join(directory, `${name}.${ending}`);
  return {
    name,
    directory,
    socket: file("socket"),
    token: file("token"),
    state: file("json"),
    lock: file("lock"),
    log: file("log"),
  };
}

function directoryFor(socket: string, env: NodeJS.ProcessEnv): string {
  const runtime = env["XDG_RUNTIME_DIR"];
  const own = `glimpse-user-${process.getuid?.()}`;
  // The XDG specification: a relative path is to be ignored.
  const candidates = [
    ...(runtime && isAbsolute(runtime) ? [join(runtime, "glimpse")] : []),
    join(tmpdir(), own),
    join("/tmp", own),
  ];
  const fits = candidates.find((directory) => Buffer.byteLength(directory + socket) <= LONGEST_SOCKET_PATH);
  return fits ?? join("/tmp", own);
}

/** Makes the directory if it is not there. @throws GlimpseError WORKER_START_FAILED where that is impossible, or unsafe. */
export function makeDirectory({ directory }: Place): void {
  try {
    mkdirSync(directory, { recursive: true, mode: 0o700 });
  } catch (cause) {
    throw new GlimpseError("WORKER_START_FAILED", `the directory ${directory} cannot be made: ${cause}`, {
      hint: "Let XDG_RUNTIME_DIR or TMPDIR name a directory that exists and can be written.",
      cause,
    });
  }
  const refused = refuseDirectory(directory);
  if (refused !== undefined) throw new GlimpseError("WORKER_START_FAILED", refused, { hint: unsafeHint(directory) });
}

/** @throws GlimpseError NOT_RUNNING when somebody else could have put a socket there. */
export function checkDirectory({ directory }: Place): void {
  const refused = refuseDirectory(directory);
  if (refused !== undefined) throw new GlimpseError("NOT_RUNNING", refused, { hint: unsafeHint(directory) });
}

function unsafeHint(directory: string): string {
  return `Look who made it; then remove it, or \`chmod 700 ${directory}\`.`;
}

/** Why nothing in the directory is to be trusted; undefined if it is the user's alone, or does not exist. */
function refuseDirectory(directory: string): string | undefined {
  const stats = statsOf(directory);
  if (stats === undefined) return undefined;
  if (!stats.isDirectory()) return `${directory} is no directory, or a link to one`;
  if (stats.uid !== process.getuid?.()) return `${directory} belongs to the user ${stats.uid}, expected your own`;
  const mode = stats.mode & 0o777;
  if ((mode & 0o077) === 0) return undefined;
  return `${directory} has the mode 0${mode.toString(8)}, expected 0700: others could put a socket of theirs there`;
}

function statsOf(path: string): Stats | undefined {
  return lstatSync(path, { throwIfNoEntry: false });
}
