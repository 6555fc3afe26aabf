import type { ReadyMessage, WireMedia, WireOptions } from "../../protocol/messages.ts";
import type { Submission } from "../transport.ts";
import { pictureSize } from "./picture-size.ts";
import { imageTokens, mostTokens, temporalPatches, videoTokens } from "./resize.ts";

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

/**
 * `maxNewTokens` is a bound, not a forecast: most answers end long before the default of 8,192. Taken at its word it would
 * make every request cost the same, whatever it shows the model. Thinking and an answer rarely take more than this.
 */
const MOST_NEW_TOKENS = 1_024;

/**
 * Before a worker has it: text by its bytes, pictures and frames by the size in their headers. What cannot be read counts
 * as the largest. `ready` is what a worker says; undefined means the published checkpoint.
 */
export function estimateCost(submission: Submission, ready: Limits | undefined): Cost {
  return {
    promptTokens: textTokens(submission) + mediaTokens(submission, ready ?? published),
    newTokens: newTokens(submission.options),
    mediaBytes: submission.frames.reduce((sum, frame) => sum + frame.byteLength, 0),
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
    first += medium.kind === "image" ? 1 : medium.bytes.length;
  }
  return tokens;
}

/** The first frame of a video speaks for all, as in the worker. */
function mediumTokens(medium: WireMedia, frame: Uint8Array | undefined, { imageLimits, videoLimits }: Limits): number {
  const size = frame && pictureSize(frame);
  switch (medium.kind) {
    case "image":
      return IMAGE_MARKS + (size === undefined ? mostTokens(imageLimits) : imageTokens(size, imageLimits));
    case "video": {
      const count = medium.bytes.length;
      const marks = PATCH_MARKS * temporalPatches(count, videoLimits);
      return marks + (size === undefined ? mostTokens(videoLimits) : videoTokens(size, count, videoLimits));
    }
    default:
      return medium satisfies never;
  }
}
