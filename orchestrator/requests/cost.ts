import type { PixelCap, PixelLimits, ReadyMessage, WireMedia, WireOptions } from "../../protocol/messages.ts";
import type { Submission } from "../transport.ts";
import { frameCount } from "./frames.ts";
import { pictureSize } from "./picture-size.ts";
import { capped, imageTokens, mostTokens, type Size, temporalPatches, videoTokens } from "./resize.ts";

/** What a request asks of a worker, by estimate. */
export interface Cost {
  /** The worker's `prepared` has the true number. */
  promptTokens: number;
  /** What it may be expected to generate at most. */
  newTokens: number;
  mediaBytes: number;
}

type Limits = Pick<ReadyMessage, "imageLimits" | "videoLimits">;

/** Those of zai-org/GLM-4.1V-9B-Thinking. */
const grid = { patchSize: 14, mergeSize: 2, temporalPatchSize: 2, minPixels: 12_544 };
const published: Limits = {
  imageLimits: { ...grid, maxPixels: 9_633_792 },
  videoLimits: { ...grid, maxPixels: 47_040_000 },
};

/**
 * A tokenizer of 150,000 entries makes one token of about four bytes of English, and of Chinese too: three bytes a
 * character, one or two characters a token. Code and figures take more tokens; the true number is known soon enough.
 */
const BYTES_PER_TOKEN = 4;

/** The role, and the line break after it. */
const TOKENS_PER_MESSAGE = 2;

/** The marks around a picture; each group of a video's frames has the second at which it begins besides. */
const IMAGE_MARKS = 2;
const PATCH_MARKS = 3;

/** What phones and cameras write, 8 Mbit/s, of frames that are larger than the model sees them. */
const VIDEO_BYTES_PER_SECOND = 1_000_000;
const GUESSED_FRAME: Size = { width: 1280, height: 720 };

/** A page of text, or a scanned one that is compressed well; in points of 1/72 inch. */
const PDF_BYTES_PER_PAGE = 100_000;
const A4: Size = { width: 595, height: 842 };
const MOST_PAGES = 300;

/**
 * `maxNewTokens` is a bound, not a forecast: most answers end long before the default of 8,192. Taken at its word it would
 * make every request cost the same, whatever it shows the model. Thinking and an answer rarely take more than this.
 */
const MOST_NEW_TOKENS = 1_024;

/**
 * Before a worker has it: text by its bytes, pictures and frames by the size in their headers, video files and PDFs by
 * their bytes. What cannot be read counts as the largest. `ready` is what a worker says; undefined means the published
 * checkpoint.
 */
export function estimateCost(submission: Submission, ready: Limits | undefined): Cost {
  return {
    ...(submission.count ? NOTHING_COMPUTED : computed(submission, ready ?? published)),
    mediaBytes: submission.frames.reduce((sum, frame) => sum + frame.byteLength, 0),
  };
}

/** Who only counts leaves the model alone. */
const NOTHING_COMPUTED = { promptTokens: 0, newTokens: 0 };

function computed(submission: Submission, limits: Limits): Omit<Cost, "mediaBytes"> {
  return {
    promptTokens: textTokens(submission) + mediaTokens(submission, limits),
    newTokens: newTokens(submission.options),
  };
}

/**
 * The tokens that a worker still has to compute: the prompt until it is `prefilled`, with the `generated` ones that an
 * earlier attempt left behind, and those to come. A token of a prompt takes about as much of a busy GPU's time as one of an
 * answer, since a picture's also go through the vision tower: they are added as they are.
 */
export function outstanding(cost: Cost, generated: number, prefilled: boolean): number {
  // One that runs longer than expected goes on for a while: it never counts as nothing.
  const toCome = Math.max(cost.newTokens - generated, Math.ceil(cost.newTokens / 16));
  return toCome + (prefilled ? 0 : cost.promptTokens + generated);
}

function framesTokens(size: Size | undefined, count: number, cap: PixelCap | undefined, all: PixelLimits): number {
  const limits = capped(all, cap, Math.max(count, all.temporalPatchSize));
  const marks = PATCH_MARKS * temporalPatches(count, limits);
  return marks + (size === undefined ? mostTokens(limits) : videoTokens(size, count, limits));
}

/** As many as the published checkpoint takes of so long a video, or as its caller wants. */
function guessedFrames({ bytes, fps = 2, maxFrames = 300 * fps }: WireMedia & { kind: "videoFile" }): number {
  const seconds = bytes / VIDEO_BYTES_PER_SECOND;
  return Math.max(1, Math.floor(Math.min(seconds * fps, 300 * fps, maxFrames)));
}

function guessedPages({ bytes, pages }: WireMedia & { kind: "pdf" }): number {
  return pages?.length ?? Math.min(MOST_PAGES, Math.ceil(bytes / PDF_BYTES_PER_PAGE));
}

function newTokens({ maxNewTokens }: WireOptions): number {
  return Math.min(maxNewTokens ?? MOST_NEW_TOKENS, MOST_NEW_TOKENS);
}

function textTokens({ messages }: Submission): number {
  const bytes = messages
    .flatMap(({ content }) => content)
    .reduce((sum, item) => sum + (item.type === "text" ? Buffer.byteLength(item.text) : 0), 0);
  return Math.ceil(bytes / BYTES_PER_TOKEN) + messages.length * TOKENS_PER_MESSAGE;
}

function mediaTokens({ media, frames }: Submission, limits: Limits): number {
  let first = 0;
  let tokens = 0;
  for (const medium of media) {
    tokens += mediumTokens(medium, frames[first], limits);
    first += frameCount(medium);
  }
  return tokens;
}

/** The first frame of a video speaks for all, as in the worker. Video files and PDFs are not read here: they are guessed. */
function mediumTokens(medium: WireMedia, frame: Uint8Array | undefined, { imageLimits, videoLimits }: Limits): number {
  switch (medium.kind) {
    case "image": {
      const limits = capped(imageLimits, medium.cap, imageLimits.temporalPatchSize);
      const size = frame && pictureSize(frame);
      return IMAGE_MARKS + (size === undefined ? mostTokens(limits) : imageTokens(size, limits));
    }
    case "video":
      return framesTokens(frame && pictureSize(frame), medium.bytes.length, medium.cap, videoLimits);
    case "videoFile":
      return framesTokens(GUESSED_FRAME, guessedFrames(medium), medium.cap, videoLimits);
    case "pdf": {
      const limits = capped(imageLimits, medium.cap, imageLimits.temporalPatchSize);
      const size = { width: (A4.width * medium.dpi) / 72, height: (A4.height * medium.dpi) / 72 };
      return guessedPages(medium) * (IMAGE_MARKS + imageTokens(size, limits));
    }
    default:
      return medium satisfies never;
  }
}
