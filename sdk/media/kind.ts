import { MAX_FILE_BYTES, MAX_MEDIA_BYTES } from "../../protocol/codec.ts";
import { type ErrorCode, GlimpseError } from "../../protocol/errors.ts";
import { formatBytes } from "./bytes.ts";

/** What the bytes of a source are to be. */
export type MediumKind = "image" | "video" | "pdf";

interface KindFacts {
  /** What messages call its bytes. */
  noun: string;
  formats: string;
  /** For the header of an HTTP request. */
  accept: string;
  maxBytes: number;
  /** How long fetching a URL may take: names, all hops and the body. */
  fetchMs: number;
  unreadable: ErrorCode;
  tooLarge: ErrorCode;
  makeSmaller: string;
}

export const mediumKinds: Readonly<Record<MediumKind, KindFacts>> = {
  image: {
    noun: "picture",
    formats: "a PNG, JPEG, WebP or GIF",
    accept: "image/png, image/jpeg, image/webp, image/gif, */*;q=0.1",
    maxBytes: MAX_MEDIA_BYTES,
    fetchMs: 30_000,
    unreadable: "IMAGE_UNREADABLE",
    tooLarge: "IMAGE_TOO_LARGE",
    makeSmaller: "Scale the picture down, or save it as JPEG or WebP.",
  },
  video: {
    noun: "video",
    formats: "an MP4, QuickTime, WebM, Matroska or GIF video",
    accept: "video/mp4, video/quicktime, video/webm, video/x-matroska, image/gif, */*;q=0.1",
    maxBytes: MAX_FILE_BYTES,
    fetchMs: 120_000,
    unreadable: "VIDEO_UNREADABLE",
    tooLarge: "VIDEO_UNREADABLE",
    makeSmaller: "Cut it, or save it smaller: the model sees two frames a second, and those at a few hundred pixels.",
  },
  pdf: {
    noun: "PDF",
    formats: "a PDF document",
    accept: "application/pdf, */*;q=0.1",
    maxBytes: MAX_FILE_BYTES,
    fetchMs: 120_000,
    unreadable: "PDF_UNREADABLE",
    tooLarge: "PDF_UNREADABLE",
    makeSmaller: "Split it, or save its pictures at a lower resolution.",
  },
};

/** `size` is undefined when reading stopped at the limit. */
export function tooLarge(kind: MediumKind, label: string, size: number | undefined): GlimpseError {
  const { tooLarge: code, maxBytes, noun, makeSmaller } = mediumKinds[kind];
  const got = size === undefined ? "more" : formatBytes(size);
  return new GlimpseError(code, `${label}: expected at most ${formatBytes(maxBytes)} of encoded ${noun}, got ${got}`, {
    hint: makeSmaller,
  });
}

export function unreadable(kind: MediumKind, label: string, expected: string, got: string, cause?: unknown) {
  return new GlimpseError(mediumKinds[kind].unreadable, `${label}: expected ${expected}, got ${got}`, { cause });
}
