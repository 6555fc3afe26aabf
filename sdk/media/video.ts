import type { PixelCap } from "../../protocol/messages.ts";
import { invalid, isRecord, refuseUnknownKeys } from "../invalid.ts";
import { type CapOptions, capNames, isWhole, readCap } from "./cap.ts";
import { type ImageSource, toImage } from "./image.ts";
import { type MediaSource, type Source, snapshot, toNamedSource, toSource } from "./source.ts";

const videoKey: unique symbol = Symbol.for("glimpse.video");

/** A video that `video()` has named: frozen, may be used in any number of requests. */
export interface VideoRef {
  readonly [videoKey]: VideoMedium;
}

interface FrameList {
  readonly kind: "video";
  readonly frames: readonly Source[];
  readonly fps: number;
  readonly cap: PixelCap | undefined;
}

interface VideoFile {
  readonly kind: "videoFile";
  readonly source: Source;
  readonly fps?: number | undefined;
  readonly maxFrames?: number | undefined;
  readonly cap: PixelCap | undefined;
}

export type VideoMedium = FrameList | VideoFile;

/** A video, as a source of its file's bytes or as what `video()` returned: MP4, QuickTime, WebM, Matroska or GIF, at most 256 MiB. */
export type VideoSource = MediaSource | VideoRef;

/** A video as its frames. */
export interface VideoInput {
  /** The frames in order, all of one size. */
  frames: readonly ImageSource[];
  /** Frames a second. */
  fps: number;
}

export interface VideoOptions extends CapOptions {
  /**
   * How many frames of each second the model gets: above 0, at most 240. Default: as many as the checkpoint's processor
   * takes, which is 2.
   */
  fps?: number | undefined;
  /**
   * The most frames that it gets; of a longer video so many are taken, evenly spread. Default, and most: those of 300
   * seconds, as the checkpoint's processor takes them.
   */
  maxFrames?: number | undefined;
}

const MAX_FPS = 240;

/**
 * Names a video: a file, by its bytes in any form, or a list of frames. Nothing is read yet.
 * @throws GlimpseError INVALID_REQUEST when it is neither, or an option is wrong.
 */
export function video(input: VideoInput, options?: CapOptions): VideoRef;
export function video(source: VideoSource | { base64: string }, options?: VideoOptions): VideoRef;
export function video(input: VideoInput | VideoSource | { base64: string }, options: VideoOptions = {}): VideoRef {
  if (!isRecord(options)) throw invalid("video", "options as an object", options);
  return videoRef(nameVideo(input, options));
}

export function videoRef(medium: VideoMedium): VideoRef {
  return Object.freeze({ [videoKey]: Object.freeze(medium) });
}

function nameVideo(input: unknown, options: Record<string, unknown>): VideoMedium {
  const cap = readCap(options, "video");
  if (isVideo(input)) return renamed(input[videoKey], options, cap);
  if (isRecord(input) && "frames" in input) return { ...ofFrames(input, options), cap };
  if (Array.isArray(input)) throw invalid("source", "a video", input, "A list of frames is video({ frames, fps }).");
  const source = Object.freeze(snapshot(toNamedSource(input, "source")));
  return { kind: "videoFile", source, ...fileOptions(options), cap };
}

/** One that has been named already, with further options. */
function renamed(named: VideoMedium, options: Record<string, unknown>, cap = named.cap): VideoMedium {
  if (named.kind === "videoFile") return { ...named, ...fileOptions(options), cap };
  refuseUnknownKeys(options, capNames, "video");
  return { ...named, cap };
}

function ofFrames(input: Record<string, unknown>, options: Record<string, unknown>): Omit<FrameList, "cap"> {
  refuseUnknownKeys(input, ["frames", "fps"], "video");
  refuseUnknownKeys(options, capNames, "video");
  const { frames, fps } = input;
  if (!Array.isArray(frames) || frames.length === 0) throw invalid("video.frames", "an array of pictures", frames);
  if (typeof fps !== "number" || !Number.isFinite(fps) || fps <= 0) {
    throw invalid("video.fps", "a number above 0 (frames a second)", fps);
  }
  const sources = frames.map((frame, index) => frameSource(frame, `video.frames[${index}]`));
  return { kind: "video", frames: Object.freeze(sources), fps };
}

function frameSource(frame: unknown, at: string): Source {
  const { source, cap } = toImage(frame, at);
  if (cap === undefined) return snapshot(source);
  throw invalid(
    at,
    "a frame without maxPixels of its own",
    "one with it",
    "Pass it once: video({ frames, fps }, { maxPixels }).",
  );
}

function fileOptions(options: Record<string, unknown>): { fps?: number; maxFrames?: number } {
  refuseUnknownKeys(options, ["fps", "maxFrames", ...capNames], "video");
  const { fps, maxFrames } = options;
  if (fps !== undefined && !(typeof fps === "number" && fps > 0 && fps <= MAX_FPS)) {
    throw invalid("video.fps", `a number above 0 and at most ${MAX_FPS} (frames a second)`, fps);
  }
  if (maxFrames !== undefined && !(isWhole(maxFrames) && maxFrames >= 1)) {
    throw invalid("video.maxFrames", "a whole number of at least 1", maxFrames);
  }
  return { ...(fps !== undefined && { fps }), ...(maxFrames !== undefined && { maxFrames }) };
}

export function isVideo(value: unknown): value is VideoRef {
  return isRecord(value) && videoKey in value;
}

/** `at` names the input in an error. */
export function toVideo(value: unknown, at: string): VideoMedium {
  if (isVideo(value)) return value[videoKey];
  if (isRecord(value) && "frames" in value) {
    throw invalid(at, "what video({ frames, fps }) returned", value, "Wrap it: video({ frames, fps }).");
  }
  return videoOf(toSource(value, at, ", or what video() returned"));
}

export function videoOf(source: Source): VideoMedium {
  return { kind: "videoFile", source, cap: undefined };
}
