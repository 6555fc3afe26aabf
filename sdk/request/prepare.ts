import type { GenerateMessage, WireMedia, WireOptions } from "../../protocol/messages.ts";
import { followSignal, requestAborted } from "../abort.ts";
import { invalid, isRecord, refuseUnknownKeys } from "../invalid.ts";
import { type FetchLimits, fetchLimits } from "../media/fetch.ts";
import type { MediumKind } from "../media/kind.ts";
import { type ReadContext, readMedium } from "../media/read.ts";
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
  /** The bytes of every picture, video frame, video file and PDF, in the order of `media`. */
  frames: Uint8Array[];
  /** What to call each medium in a message to the caller, in the order of `media`. */
  labels: string[];
  options: WireOptions;
  queueTimeoutMs: number | undefined;
}

const inputNames = ["messages", "prompt", "images", "pdf", "video", "system", "output", ...optionNames];
const READS_AT_ONCE = 8;

/**
 * Checks a request and reads its media. All of `input` is taken before this returns its promise: the caller may
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
  const sources = distinctSources(media);
  const bytes = await readAll(sources, { allowHosts: context.allowHosts, limits }, context.signal);
  const framesOf = (medium: Medium): Uint8Array[] =>
    sourcesOf(medium).map((source) => bytes.get(sourceKey(source)) as Uint8Array);
  return {
    messages,
    media: media.map((medium) => toWire(medium, framesOf(medium))),
    frames: media.flatMap(framesOf),
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

interface NamedSource {
  key: unknown;
  kind: MediumKind;
  source: Source;
  label: string;
}

/** Every source once, with the caller's bytes copied. */
function distinctSources(media: readonly Medium[]): NamedSource[] {
  const sources = new Map<unknown, NamedSource>();
  for (const medium of media) {
    for (const [index, source] of sourcesOf(medium).entries()) {
      const key = sourceKey(source);
      if (sources.has(key)) continue;
      const at = medium.kind === "video" ? `${medium.at}.frames[${index}]` : medium.at;
      sources.set(key, { key, kind: bytesKind[medium.kind], source: snapshot(source), label: sourceLabel(source, at) });
    }
  }
  return [...sources.values()];
}

/** What the bytes of a medium are to be: those of a list of frames are pictures. */
const bytesKind = { image: "image", video: "image", videoFile: "video", pdf: "pdf" } as const;

/** Whatever ends the reading first, a failure or a signal, ends all of it and is what this rejects with. */
async function readAll(
  sources: readonly NamedSource[],
  context: Omit<ReadContext, "signal">,
  requestSignal: AbortSignal | undefined,
): Promise<Map<unknown, Uint8Array>> {
  const { controller, release } = followSignal(requestSignal, requestAborted);
  const { signal } = controller;
  const bytes = new Map<unknown, Uint8Array>();
  const queue = sources.values();
  const readFromQueue = async (): Promise<void> => {
    for (const { key, kind, source, label } of queue) {
      signal.throwIfAborted();
      bytes.set(key, await readMedium(kind, source, label, { ...context, signal }));
    }
  };
  const readers = Array.from({ length: Math.min(READS_AT_ONCE, sources.length) }, () =>
    readFromQueue().catch((error: unknown) => controller.abort(error)),
  );
  await Promise.all(readers);
  release();
  signal.throwIfAborted();
  return bytes;
}

function sourcesOf(medium: Medium): readonly Source[] {
  return medium.kind === "video" ? medium.frames : [medium.source];
}

function labelOf(medium: Medium): string {
  if (medium.kind !== "video") return sourceLabel(medium.source, medium.at);
  return `${medium.at} (video, ${medium.frames.length} frames)`;
}

function toWire(medium: Medium, frames: readonly Uint8Array[]): WireMedia {
  const [bytes = 0] = frames.map(({ byteLength }) => byteLength);
  const cap = medium.cap && { cap: medium.cap };
  switch (medium.kind) {
    case "image":
      return { kind: "image", bytes, ...cap };
    case "video":
      return { kind: "video", bytes: frames.map(({ byteLength }) => byteLength), fps: medium.fps, ...cap };
    case "videoFile": {
      const { fps, maxFrames } = medium;
      return { kind: "videoFile", bytes, ...(fps && { fps }), ...(maxFrames && { maxFrames }), ...cap };
    }
    case "pdf": {
      const { dpi, pages } = medium;
      return { kind: "pdf", bytes, dpi, ...(pages && { pages: [...pages] }), ...cap };
    }
    default:
      return medium satisfies never;
  }
}
