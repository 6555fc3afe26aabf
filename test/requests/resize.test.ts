import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { imageTokens, mostTokens, videoTokens } from "../../orchestrator/requests/resize.ts";
import type { PixelLimits } from "../../protocol/messages.ts";

interface Vector {
  kind: "image" | "video";
  width: number;
  height: number;
  frames?: number;
  /** A name in `limits`. */
  limits: string;
  tokens: number;
}

// Written by python-worker/tests/resize_vectors.py, from the worker's own code.
const file = new URL("../../protocol/resize-vectors.json", import.meta.url);
const { limits, vectors }: { limits: Record<string, PixelLimits>; vectors: Vector[] } = JSON.parse(
  readFileSync(file, "utf8"),
);

function limitsOf({ limits: name }: Vector): PixelLimits {
  const found = limits[name];
  if (found === undefined) throw new Error(`no limits ${name}`);
  return found;
}

function tokensOf(vector: Vector): number {
  if (vector.frames === undefined) return imageTokens(vector, limitsOf(vector));
  return videoTokens(vector, vector.frames, limitsOf(vector));
}

test("a picture and a video cost the tokens that the worker makes of them", () => {
  expect(vectors.length).toBeGreaterThan(400);
  expect(vectors.map((vector) => ({ ...vector, tokens: tokensOf(vector) }))).toEqual(vectors);
});

test("no picture of the published checkpoint costs more than the most", () => {
  const images = vectors.filter(({ limits }) => limits === "published image");
  const most = images.map((vector) => mostTokens(limitsOf(vector)));
  expect(new Set(most)).toEqual(new Set([6144]));
  expect(Math.max(...images.map(({ tokens }) => tokens))).toBeLessThanOrEqual(6144);
});
