import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { onTestFinished } from "vitest";
import { parseAllowHosts } from "../../sdk/media/allow-hosts.ts";
import { fetchLimits } from "../../sdk/media/fetch.ts";
import type { GenerateInput } from "../../sdk/request/input.ts";
import { type PreparedRequest, prepareRequest } from "../../sdk/request/prepare.ts";

/** A real picture: one red pixel. */
export const png = Buffer.from(
  "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR4nGP4z8AAAAMBAQDJ/pLvAAAAAElFTkSuQmCC",
  "base64",
);

/** Bytes that begin as a PNG does and differ from each other; their decoding is the worker's subject. */
export function pngLike(text: string): Buffer {
  return Buffer.concat([png.subarray(0, 8), Buffer.from(text)]);
}

/** A directory that is gone after the test. */
export function temporaryDirectory(): string {
  const directory = mkdtempSync(join(tmpdir(), "glimpse-test-"));
  onTestFinished(() => rmSync(directory, { recursive: true, force: true }));
  return directory;
}

export function writePicture(name: string, bytes: Uint8Array | string = png): string {
  const path = join(temporaryDirectory(), name);
  writeFileSync(path, bytes);
  return path;
}

export function prepare(
  input: GenerateInput,
  { allowHosts = [] as readonly string[], limits = {}, signal = undefined as AbortSignal | undefined } = {},
): Promise<PreparedRequest> {
  const context = { allowHosts: parseAllowHosts(allowHosts), signal, newSeed: () => 7 };
  return prepareRequest(input, context, { ...fetchLimits, ...limits });
}

/** Passes what TypeScript would refuse, as a JavaScript program may. */
export function prepareUntyped(input: unknown): Promise<PreparedRequest> {
  return prepare(input as GenerateInput);
}

/** The error of a call that must fail. */
export async function failure(call: Promise<unknown>): Promise<Error & { code: string; hint?: string }> {
  const outcome = await call.then(
    () => new Error("the call succeeded"),
    (error: unknown) => error,
  );
  return outcome as Error & { code: string };
}
