import type { PixelCap, PixelLimits } from "../../protocol/messages.ts";

/** Pixels; which side is which changes no number of tokens, so EXIF orientation does not matter here. */
export interface Size {
  width: number;
  height: number;
}

/** transformers' rule gives up beyond this ratio of the sides; the worker pads such a picture up to it. */
const MAX_ASPECT_RATIO = 200;

/** The tokens that stand for a picture of this size in the prompt, without the two marks around them. */
export function imageTokens(size: Size, limits: PixelLimits): number {
  return tokensOf(resized(limits.temporalPatchSize, padded(size, limits), limits), limits);
}

/**
 * The tokens that stand for a video whose frames have this size, without the marks and the seconds between them. As many
 * frames as `temporalPatchSize` share their tokens; the last frame is repeated to fill the last of these groups.
 */
export function videoTokens(size: Size, frames: number, limits: PixelLimits): number {
  const perPatch = tokensOf(resized(Math.max(frames, limits.temporalPatchSize), padded(size, limits), limits), limits);
  return perPatch * temporalPatches(frames, limits);
}

/** The limits with a caller's own bound on each of `frames` frames, as far as it is below them. */
export function capped(limits: PixelLimits, cap: PixelCap | undefined, frames: number): PixelLimits {
  if (cap === undefined) return limits;
  const most = Math.max(limits.minPixels, cap.maxPixels * frames);
  return { ...limits, maxPixels: Math.min(limits.maxPixels, most) };
}

/** In how many groups of frames the model sees a video. */
export function temporalPatches(frames: number, limits: PixelLimits): number {
  return Math.ceil(frames / limits.temporalPatchSize);
}

/** The most tokens that a picture, or a whole video, can have. */
export function mostTokens(limits: PixelLimits): number {
  return Math.floor(limits.maxPixels / (limits.temporalPatchSize * factorOf(limits) ** 2));
}

/** Pixels on a side of what becomes one token. */
function factorOf({ patchSize, mergeSize }: PixelLimits): number {
  return patchSize * mergeSize;
}

function tokensOf({ width, height }: Size, limits: PixelLimits): number {
  return (width * height) / factorOf(limits) ** 2;
}

function padded({ width, height }: Size, limits: PixelLimits): Size {
  const grown = atLeastFactor({ width, height }, factorOf(limits));
  const ratio = Math.max(grown.width, grown.height) / Math.min(grown.width, grown.height);
  if (ratio <= MAX_ASPECT_RATIO) return { width, height };
  const shorter = Math.ceil(Math.max(width, height) / MAX_ASPECT_RATIO);
  return width > height ? { width, height: shorter } : { width: shorter, height };
}

function atLeastFactor({ width, height }: Size, factor: number): Size {
  if (height >= factor && width >= factor) return { width, height };
  const scale = Math.max(factor / height, factor / width);
  return { width: Math.trunc(width * scale), height: Math.trunc(height * scale) };
}

/** transformers' Glm4v `smart_resize`, number for number: the same operations in the same order, so that they round alike. */
function resized(frames: number, size: Size, limits: PixelLimits): Size {
  const factor = factorOf(limits);
  const { temporalPatchSize: temporal, minPixels, maxPixels } = limits;
  const { width, height } = atLeastFactor(size, factor);
  const rounded = { width: roundHalfEven(width / factor) * factor, height: roundHalfEven(height / factor) * factor };
  const pixels = roundHalfEven(frames / temporal) * temporal * rounded.height * rounded.width;
  if (pixels > maxPixels) {
    const beta = Math.sqrt((frames * height * width) / maxPixels);
    const shrunk = (side: number) => Math.max(factor, Math.floor(side / beta / factor) * factor);
    return { width: shrunk(width), height: shrunk(height) };
  }
  if (pixels < minPixels) {
    const beta = Math.sqrt(minPixels / (frames * height * width));
    const grown = (side: number) => Math.ceil((side * beta) / factor) * factor;
    return { width: grown(width), height: grown(height) };
  }
  return rounded;
}

/** Python's `round`. */
function roundHalfEven(value: number): number {
  const floor = Math.floor(value);
  if (value - floor !== 0.5) return Math.round(value);
  return floor % 2 === 0 ? floor : floor + 1;
}
