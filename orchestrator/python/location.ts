import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { homedir } from "node:os";
import { isAbsolute, join } from "node:path";
import { z } from "zod";
import { isCheckout, packageRoot } from "../package-root.ts";
import { requirements } from "./requirements.ts";
import { torchBuilds, torchVersion } from "./torch-build.ts";

/** Written as the last act of a set-up: an environment without it is unfinished. */
const stampSchema = z.strictObject({
  lock: z.string(),
  torch: z.enum(torchBuilds),
  python: z.string(),
  /** The lock of the development packages, where they are installed. */
  development: z.string().optional(),
});
export type Stamp = z.infer<typeof stampSchema>;

function digest(...parts: (string | Buffer)[]): string {
  const hash = createHash("sha256");
  for (const part of parts) hash.update(part);
  return hash.digest("hex").slice(0, 16);
}

/** Names the set of pinned versions: it changes whenever an existing environment would be wrong. */
export function runtimeLock(): string {
  const { pip, runtime, torchCuda } = requirements;
  return digest(torchVersion, ...[pip, runtime, torchCuda].map((path) => readFileSync(path)));
}

export function developmentLock(): string {
  return digest(readFileSync(requirements.development));
}

/**
 * Where Glimpse keeps the Python environment that it makes: `.venv` of a checkout, else the user's cache directory
 * (`$XDG_CACHE_HOME`, or `~/.cache`), one per set of pinned versions.
 */
export function environmentDirectory(env = process.env): string {
  if (isCheckout) return join(packageRoot, ".venv");
  const configured = env["XDG_CACHE_HOME"];
  // The XDG specification: a relative path is to be ignored.
  const cache = configured && isAbsolute(configured) ? configured : join(homedir(), ".cache");
  return join(cache, "glimpse", `python-${runtimeLock()}`);
}

export function pythonOf(directory: string): string {
  return join(directory, "bin", "python");
}

export function stampPath(directory: string): string {
  return join(directory, "glimpse.json");
}

/** What a finished set-up left in `directory`; undefined when there is none, or one of an older Glimpse. */
export async function readStamp(directory: string): Promise<Stamp | undefined> {
  let text: string;
  try {
    text = await readFile(stampPath(directory), "utf8");
  } catch {
    return undefined;
  }
  try {
    return stampSchema.safeParse(JSON.parse(text)).data;
  } catch {
    return undefined;
  }
}
