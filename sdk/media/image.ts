import { invalid, isRecord, refuseUnknownKeys } from "../invalid.ts";
import { fromBase64, imageKey, type Source, snapshot, toSource } from "./source.ts";

/**
 * A picture that `image()` has named: frozen, may be used in any number of requests. Its bytes are read when a request
 * needs them; bytes given as such are copied when it is made.
 */
export interface ImageRef {
  readonly [imageKey]: Source;
}

/**
 * A picture: a path, an http(s) URL, a `file:` URL or a data URL (as a string or a URL), bytes, or what `image()`
 * returned. PNG, JPEG, WebP or GIF, at most 64 MiB, told apart by its bytes.
 */
export type ImageSource = string | URL | Uint8Array | ArrayBuffer | Blob | ImageRef;

const videoKey: unique symbol = Symbol.for("glimpse.video");

/** A video that `video()` has made of its frames: frozen, may be used in any number of requests. */
export interface VideoRef {
  readonly [videoKey]: VideoSource;
}

export interface VideoSource {
  readonly frames: readonly Source[];
  readonly fps: number;
}

export interface VideoInput {
  /** The frames in order, all of one size. */
  frames: readonly ImageSource[];
  /** Frames a second. */
  fps: number;
}

/**
 * Names a picture. Relative paths are taken from the directory that is current now. Nothing is read yet.
 * @throws GlimpseError INVALID_REQUEST when `source` is nothing that can be a picture.
 */
export function image(source: ImageSource | { base64: string }): ImageRef {
  const parsed =
    isRecord(source) && "base64" in source ? fromBase64(source.base64, "base64") : toSource(source, "source");
  return Object.freeze({ [imageKey]: Object.freeze(snapshot(parsed)) });
}

/**
 * Makes a video of pictures. Nothing is read yet.
 * @throws GlimpseError INVALID_REQUEST when there is no frame, or `fps` is not a number above 0.
 */
export function video(input: VideoInput): VideoRef {
  if (!isRecord(input)) throw invalid("video", "{ frames, fps }", input);
  refuseUnknownKeys(input, ["frames", "fps"], "video");
  const { frames, fps } = input;
  if (!Array.isArray(frames) || frames.length === 0) throw invalid("video.frames", "an array of pictures", frames);
  if (!Number.isFinite(fps) || fps <= 0) throw invalid("video.fps", "a number above 0 (frames a second)", fps);
  const sources = frames.map((frame, index) => snapshot(toSource(frame, `video.frames[${index}]`)));
  return Object.freeze({ [videoKey]: Object.freeze({ frames: Object.freeze(sources), fps }) });
}

export function isVideo(value: unknown): value is VideoRef {
  return isRecord(value) && videoKey in value;
}

export function toVideo(value: unknown, at: string): VideoSource {
  if (isRecord(value) && videoKey in value) return value[videoKey] as VideoSource;
  const hint = isRecord(value)
    ? "Wrap it: video({ frames, fps })."
    : "Video files are not read: pass their frames, as video({ frames, fps }).";
  throw invalid(at, "what video({ frames, fps }) returned", value, hint);
}
