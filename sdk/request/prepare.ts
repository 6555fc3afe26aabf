import { GlimpseError } from "../../protocol/errors.ts";
import type { GenerateMessage, WireMedia, WireOptions } from "../../protocol/messages.ts";
import { followSignal } from "../abort.ts";
import { invalid, isRecord, refuseUnknownKeys } from "../invalid.ts";
import { type FetchLimits, fetchLimits } from "../media/fetch.ts";
import { type ReadContext, readPicture } from "../media/read.ts";
import { type Source, snapshot, sourceKey, sourceLabel } from "../media/source.ts";
import { enforcedSchema } from "../output/schema.ts";
import { type Medium, readConversation } from "./conversation.ts";
import type { AnyInput } from "./input.ts";
import { optionNames, parseOptions } from "./options.ts";

export interface PrepareContext {
  /** The private hosts that URLs may lead to, as `parseAllowHosts` gives them. */
  allowHosts: ReadonlySet<string>;
  /** Aborts the request. The caller's own signal is not followed: it is for whoever has made this one. */
  signal?: AbortSignal | undefined;
  /** Draws a seed from 0 to 4294967295. */
  newSeed: () => number;
  /** Told the seed and the deadline before the call returns its promise; not if the options are refused. */
  onOptions?: ((options: { seed: number; timeoutMs: number | undefined }) => void) | undefined;
}

/** A request as the worker takes it. */
export interface PreparedRequest {
  messages: GenerateMessage["messages"];
  media: WireMedia[];
  /** The bytes of every picture and video frame, in the order of `media`. */
  frames: Uint8Array[];
  /** What to call each medium in a message to the caller, in the order of `media`. */
  labels: string[];
  options: WireOptions;
  queueTimeoutMs: number | undefined;
}

const inputNames = ["messages", "prompt", "images", "video", "system", "output", ...optionNames];
const READS_AT_ONCE = 8;

/**
 * Checks a request and reads its pictures. All of `input` is taken before this returns its promise: the caller may
 * change it, and the bytes in it, at once. Rejects with a GlimpseError. `limits` is for tests.
 */
export async function prepareRequest(
  input: AnyInput,
  context: PrepareContext,
  limits: FetchLimits = fetchLimits,
): Promise<PreparedRequest> {
  if (!isRecord(input)) throw invalid("input", "an object with messages or prompt", input);
  refuseUnknownKeys(input, inputNames, "input");
  const { wire, timeoutMs, queueTimeoutMs } = parseOptions(input);
  const schema = readOutput(input, wire.stop);
  const seed = wire.seed ?? context.newSeed();
  context.onOptions?.({ seed, timeoutMs });
  const { messages, media } = readConversation(input);
  const pictures = distinctPictures(media);
  const frames = await readAll(pictures, { allowHosts: context.allowHosts, limits }, context.signal);
  const bytesOf = (source: Source): Uint8Array => frames.get(sourceKey(source)) as Uint8Array;
  return {
    messages,
    media: media.map((medium) => toWire(medium, bytesOf)),
    frames: media.flatMap(sourcesOf).map(bytesOf),
    labels: media.map(labelOf),
    options: schema === undefined ? { ...wire, seed } : { ...wire, seed, schema },
    queueTimeoutMs,
  };
}

function readOutput(input: AnyInput, stop: unknown): string | undefined {
  const { output } = input;
  if (output === undefined) return undefined;
  if (stop !== undefined) throw invalid("stop", "nothing beside output, whose JSON ends by itself", stop);
  return enforcedSchema(output);
}

interface Picture {
  key: unknown;
  source: Source;
  label: string;
}

/** Every source once, with the caller's bytes copied. */
function distinctPictures(media: readonly Medium[]): Picture[] {
  const pictures = new Map<unknown, Picture>();
  for (const medium of media) {
    for (const [index, source] of sourcesOf(medium).entries()) {
      const key = sourceKey(source);
      if (pictures.has(key)) continue;
      const at = medium.kind === "image" ? medium.at : `${medium.at}.frames[${index}]`;
      pictures.set(key, { key, source: snapshot(source), label: sourceLabel(source, at) });
    }
  }
  return [...pictures.values()];
}

/** Whatever ends the reading first, a failure or a signal, ends all of it and is what this rejects with. */
async function readAll(
  pictures: readonly Picture[],
  context: Omit<ReadContext, "signal">,
  requestSignal: AbortSignal | undefined,
): Promise<Map<unknown, Uint8Array>> {
  const { controller, release } = followSignal(requestSignal, aborted);
  const { signal } = controller;
  const bytes = new Map<unknown, Uint8Array>();
  const queue = pictures.values();
  const readFromQueue = async (): Promise<void> => {
    for (const { key, source, label } of queue) {
      signal.throwIfAborted();
      bytes.set(key, await readPicture(source, label, { ...context, signal }));
    }
  };
  const readers = Array.from({ length: Math.min(READS_AT_ONCE, pictures.length) }, () =>
    readFromQueue().catch((error: unknown) => controller.abort(error)),
  );
  await Promise.all(readers);
  release();
  signal.throwIfAborted();
  return bytes;
}

function aborted(signal: AbortSignal): GlimpseError {
  return new GlimpseError("ABORTED", "the request was aborted by its signal", { cause: signal.reason });
}

function sourcesOf(medium: Medium): readonly Source[] {
  return medium.kind === "image" ? [medium.source] : medium.frames;
}

function labelOf(medium: Medium): string {
  if (medium.kind === "image") return sourceLabel(medium.source, medium.at);
  return `${medium.at} (video, ${medium.frames.length} frames)`;
}

function toWire(medium: Medium, bytesOf: (source: Source) => Uint8Array): WireMedia {
  if (medium.kind === "image") return { kind: "image", bytes: bytesOf(medium.source).byteLength };
  return { kind: "video", bytes: medium.frames.map((frame) => bytesOf(frame).byteLength), fps: medium.fps };
}
