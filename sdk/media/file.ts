import { constants } from "node:fs";
import { type FileHandle, open } from "node:fs/promises";
import { GlimpseError } from "../../protocol/errors.ts";
import { type MediumKind, mediumKinds, tooLarge } from "./kind.ts";

const PIPE = "it is a pipe, socket or device";

/** The bytes of a regular file that is no larger than its kind may be. */
export async function readMediumFile(kind: MediumKind, path: string, signal: AbortSignal): Promise<Uint8Array> {
  try {
    // Without O_NONBLOCK, opening a FIFO that nobody writes to never returns.
    const file = await open(path, constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOCTTY);
    try {
      return await readRegularFile(kind, file, path, signal);
    } finally {
      await file.close();
    }
  } catch (error) {
    if (GlimpseError.is(error)) throw error;
    throw notFound(path, reason((error as NodeJS.ErrnoException).code));
  }
}

async function readRegularFile(
  kind: MediumKind,
  file: FileHandle,
  path: string,
  signal: AbortSignal,
): Promise<Uint8Array> {
  const { maxBytes } = mediumKinds[kind];
  const stat = await file.stat();
  if (!stat.isFile()) throw notFound(path, stat.isDirectory() ? "it is a directory" : PIPE);
  if (stat.size > maxBytes) throw tooLarge(kind, path, stat.size);
  return readToEnd(kind, file, path, signal);
}

/** The size that stat gave is not relied upon: the file may grow, and /proc reports 0. */
async function readToEnd(kind: MediumKind, file: FileHandle, path: string, signal: AbortSignal): Promise<Uint8Array> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of file.createReadStream({ autoClose: false, highWaterMark: 1024 * 1024 })) {
    signal.throwIfAborted();
    size += (chunk as Buffer).byteLength;
    if (size > mediumKinds[kind].maxBytes) throw tooLarge(kind, path, undefined);
    chunks.push(chunk as Buffer);
  }
  return Buffer.concat(chunks, size);
}

function reason(code: string | undefined): string {
  switch (code) {
    case "ENOENT":
    case "ENOTDIR":
      return "there is no such file";
    case "EACCES":
    case "EPERM":
      return "there is no permission to read it";
    case "ENXIO":
      return PIPE;
    default:
      return `the system says ${code}`;
  }
}

function notFound(path: string, got: string): GlimpseError {
  const shown = path.length > 300 ? `${path.slice(0, 300)}…` : path;
  return new GlimpseError("FILE_NOT_FOUND", `${shown}: expected a file that can be read; ${got}`, {
    hint: hint(path),
  });
}

function hint(path: string): string {
  if (/\/(?:iVBORw0KGgo|9j\/|UklGR|R0lGOD)/.test(path)) return "If this is base64, pass image({ base64 }).";
  if (path.includes("/~")) return "~ is expanded by shells only: use os.homedir().";
  return `Relative paths start at ${process.cwd()}.`;
}
