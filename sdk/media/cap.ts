import type { PixelCap } from "../../protocol/messages.ts";
import { invalid } from "../invalid.ts";

/**
 * The model scales every picture to its own limit, so no picture is too large for it, but a smaller one costs fewer tokens
 * and less time: one for each 28 × 28 pixels.
 */
export interface CapOptions {
  /** The most pixels, width × height, that the model gets of the picture, or of each page or frame. */
  maxPixels?: number | undefined;
  /** What happens to a larger one: scaled down (the default), or refused as IMAGE_TOO_LARGE. */
  onTooLarge?: PixelCap["onTooLarge"] | undefined;
}

export const capNames = ["maxPixels", "onTooLarge"];

/** @throws GlimpseError INVALID_REQUEST */
export function readCap(options: Record<string, unknown>, at: string): PixelCap | undefined {
  const { maxPixels, onTooLarge = "downscale" } = options;
  if (maxPixels === undefined) {
    if (options["onTooLarge"] === undefined) return undefined;
    throw invalid(`${at}.maxPixels`, "a number of pixels, beside onTooLarge", maxPixels);
  }
  if (!isWhole(maxPixels) || maxPixels < 1) {
    throw invalid(`${at}.maxPixels`, "a whole number of at least 1 (width × height)", maxPixels);
  }
  if (onTooLarge !== "downscale" && onTooLarge !== "refuse") {
    throw invalid(`${at}.onTooLarge`, '"downscale" or "refuse"', onTooLarge);
  }
  return { maxPixels, onTooLarge };
}

export function isWhole(value: unknown): value is number {
  return Number.isSafeInteger(value);
}
