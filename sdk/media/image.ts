import type { PixelCap } from "../../protocol/messages.ts";
import { invalid, isRecord, refuseUnknownKeys } from "../invalid.ts";
import { type CapOptions, capNames, readCap } from "./cap.ts";
import { type MediaSource, type Source, snapshot, toNamedSource, toSource } from "./source.ts";

/** Registered, so that two copies of the package understand each other; as for the other kinds. */
const imageKey: unique symbol = Symbol.for("glimpse.image");

/**
 * A picture that `image()` has named: frozen, may be used in any number of requests. Its bytes are read when a request
 * needs them; bytes given as such are copied when it is made.
 */
export interface ImageRef {
  readonly [imageKey]: ImageMedium;
}

export interface ImageMedium {
  readonly kind: "image";
  readonly source: Source;
  readonly cap: PixelCap | undefined;
}

/** A picture, as a source of its bytes or as what `image()` returned: PNG, JPEG, WebP or GIF, at most 64 MiB. */
export type ImageSource = MediaSource | ImageRef;

export interface ImageOptions extends CapOptions {}

/**
 * Names a picture. Relative paths are taken from the directory that is current now. Nothing is read yet.
 * @throws GlimpseError INVALID_REQUEST when `source` is nothing that can be a picture, or an option is wrong.
 */
export function image(source: ImageSource | { base64: string }, options: ImageOptions = {}): ImageRef {
  if (!isRecord(options)) throw invalid("image", "options as an object", options);
  refuseUnknownKeys(options, capNames, "image");
  const named = isImage(source) ? source[imageKey] : imageOf(toNamedSource(source, "source"));
  const cap = readCap(options, "image") ?? named.cap;
  return imageRef({ kind: "image", source: Object.freeze(snapshot(named.source)), cap });
}

export function imageRef(medium: ImageMedium): ImageRef {
  return Object.freeze({ [imageKey]: Object.freeze(medium) });
}

export function isImage(value: unknown): value is ImageRef {
  return isRecord(value) && imageKey in value;
}

/** `at` names the input in an error, as in `images[0]`. */
export function toImage(value: unknown, at: string): ImageMedium {
  return isImage(value) ? value[imageKey] : imageOf(toSource(value, at, ", or what image() returned"));
}

export function imageOf(source: Source): ImageMedium {
  return { kind: "image", source, cap: undefined };
}
