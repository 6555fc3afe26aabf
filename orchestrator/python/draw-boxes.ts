import { execa } from "execa";
import { GlimpseError } from "../../protocol/errors.ts";
import { failedSchema } from "../../protocol/messages.ts";
import { workerEnvironment } from "../worker-process.ts";

/** More than the largest picture that is read has, uncompressed. */
const MAX_PNG_BYTES = 512 * 1024 * 1024;

/** What the command reads before the picture: `glimpse_worker/draw_boxes.py`. */
export interface Drawing {
  boxes: readonly { box: readonly number[]; color: string; label?: string | undefined }[];
  lineWidth?: number | undefined;
}

/**
 * Draws on a picture in a process of its own, which ends with it: it has the worker's decoders, and needs neither a model
 * nor a wait for one. Resolves to a PNG; rejects with what is wrong with the picture, which messages call `label`, or with
 * the signal's reason.
 */
export async function runDrawBoxes(
  python: string,
  drawing: Drawing,
  picture: Uint8Array,
  { label, signal }: { label: string; signal: AbortSignal },
): Promise<Uint8Array> {
  const header = Buffer.from(`${JSON.stringify(drawing)}\n`);
  const { stdout, stderr, failed } = await execa(python, ["-P", "-m", "glimpse_worker.draw_boxes"], {
    input: Buffer.concat([header, picture]),
    encoding: "buffer",
    env: workerEnvironment(),
    reject: false,
    maxBuffer: MAX_PNG_BYTES,
    cancelSignal: signal,
  });
  signal.throwIfAborted();
  if (!failed) return stdout;
  throw readFailure(stdout, label) ?? broken(python, Buffer.from(stderr).toString("utf8"));
}

function readFailure(stdout: Uint8Array, label: string): GlimpseError | undefined {
  try {
    const { code, message, hint } = failedSchema.parse(JSON.parse(Buffer.from(stdout).toString("utf8")));
    return new GlimpseError(code, `${label}: ${message}`, { hint });
  } catch {
    return undefined;
  }
}

function broken(python: string, stderr: string): GlimpseError {
  const last = stderr.trim().split("\n").at(-1) || "it was ended";
  return new GlimpseError("PYTHON_DEPS_MISSING", `drawBoxes() needs a Python with Pillow; ${python}: ${last}`, {
    hint: "Run: npx glimpse setup",
  });
}
