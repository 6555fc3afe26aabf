import { readFileSync } from "node:fs";
import { GlimpseError } from "../../protocol/errors.ts";
import type { Welcome } from "../../protocol/remote.ts";
import { RemoteTransport } from "../remote/transport.ts";
import { checkDirectory, defaultName, type Place } from "./place.ts";

export interface Attached {
  transport: RemoteTransport;
  welcome: Welcome;
}

/**
 * Connects to the background orchestrator at `place`; undefined when none runs there. It may still be loading, or ending.
 * Rejects with NOT_RUNNING when the directory is not safe, PROTOCOL_MISMATCH when it is of another version, ABORTED.
 */
export async function findRunning(place: Place, signal?: AbortSignal): Promise<Attached | undefined> {
  checkDirectory(place);
  try {
    const token = readFileSync(place.token, "utf8");
    return await RemoteTransport.open(place.socket, token, signal);
  } catch (error) {
    if (GlimpseError.is(error) || !isAbsence(error)) throw error;
    return undefined;
  }
}

/** As `findRunning`, but rejects with NOT_RUNNING also when none runs, or when it is ending. */
export async function attach(place: Place, signal?: AbortSignal): Promise<Attached> {
  const found = await findRunning(place, signal);
  if (found === undefined) throw notRunning(place);
  if (found.welcome.phase !== "ending") return found;
  await found.transport.close();
  throw new GlimpseError("NOT_RUNNING", `${title(place)} is ending`, { hint: upHint(place) });
}

/** What to call it in messages. */
export function title({ name }: Place): string {
  return name === defaultName ? "the background orchestrator" : `the background orchestrator "${name}"`;
}

function notRunning(place: Place): GlimpseError {
  return new GlimpseError("NOT_RUNNING", `${title(place)} is not running: nobody listens at ${place.socket}`, {
    hint: upHint(place),
  });
}

function upHint({ name }: Place): string {
  return `Start it with \`npx glimpse up${name === defaultName ? "" : ` --name ${name}`}\`.`;
}

/** No file, or a socket that its process left behind. */
function isAbsence(error: unknown): boolean {
  const code = error instanceof Error && "code" in error ? error.code : undefined;
  return code === "ENOENT" || code === "ECONNREFUSED";
}
