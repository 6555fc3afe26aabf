import { readFileSync } from "node:fs";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type Cost, estimateCost, outstanding } from "../../orchestrator/requests/cost.ts";
import { pictureSize } from "../../orchestrator/requests/picture-size.ts";
import type { Submission } from "../../orchestrator/transport.ts";
import { headers, jpegHeader, pictures, submission, videoOf } from "./submissions.ts";

const published = undefined;

/** What the media add to the prompt of the same question without them. */
function mediaTokens(request: Submission, ready: Parameters<typeof estimateCost>[1] = published): number {
  return estimateCost(request, ready).promptTokens - estimateCost(submission(), ready).promptTokens;
}

describe("the size of a picture", () => {
  test.each([
    ...Object.entries(headers),
    ["jpeg", jpegHeader()],
    ["jpeg with a preview", jpegHeader(14, 65_000)],
    ["jpeg with a megabyte of colour profile", jpegHeader(...Array.from({ length: 16 }, () => 65_000))],
  ])("is read from a header: %s", (_, encoded) => {
    expect(pictureSize(encoded)).toEqual({ width: 333, height: 500 });
  });

  test("is read from a photograph", () => {
    const cat = readFileSync(new URL("../../models/evaluation/photographs/cat.jpg", import.meta.url));
    expect(pictureSize(cat)).toEqual({ width: 400, height: 266 });
  });

  test("of damaged bytes is unknown, and reading them throws nothing", () => {
    const start = fc.constantFrom(...Object.values(headers), jpegHeader(9), Buffer.alloc(0));
    fc.assert(
      fc.property(start, fc.nat(40), fc.uint8Array({ maxLength: 60 }), (header, cut, tail) => {
        const size = pictureSize(Buffer.concat([header.subarray(0, cut), tail]));
        if (size === undefined) return;
        expect(size.width).toBeGreaterThan(0);
        expect(size.height).toBeGreaterThan(0);
      }),
    );
  });

  test("of nothing is unknown", () => {
    const flat = Buffer.from(headers.gif);
    flat.writeUInt16LE(0, 8);
    expect(pictureSize(flat)).toBeUndefined();
  });

  test("is not looked for through 64 MiB of damaged bytes", () => {
    const damaged = new Uint8Array(64 * 1024 * 1024);
    damaged.set([0xff, 0xd8, 0xff, 0xe0]);
    const began = process.cpuUsage();
    expect(pictureSize(damaged)).toBeUndefined();
    expect(process.cpuUsage(began).user).toBeLessThan(100_000);
  });
});

describe("the estimate", () => {
  test("of a picture is what the resize rule makes of it, and its two marks", () => {
    expect(mediaTokens(pictures(headers.png))).toBe(216 + 2);
    expect(mediaTokens(pictures(headers.png, jpegHeader()))).toBe(2 * (216 + 2));
  });

  test("of a picture that cannot be read is that of the largest", () => {
    expect(mediaTokens(pictures(Buffer.from("no picture")))).toBe(6144 + 2);
    expect(mediaTokens(videoOf(Buffer.from("no picture")))).toBe(30_000 + 3);
  });

  test("of a video counts every two frames once, with the marks and the second of each", () => {
    const one = mediaTokens(videoOf(headers.png));
    expect(one).toBe(216 + 3);
    expect(mediaTokens(videoOf(...Array.from({ length: 7 }, () => headers.png)))).toBe(4 * one);
  });

  const file = (medium: Submission["media"][number]) =>
    mediaTokens(submission({ media: [medium], frames: [Buffer.alloc(1)] }));

  test("of a video file grows with its bytes, up to what the model takes of any video", () => {
    const seconds = (count: number) => file({ kind: "videoFile", bytes: count * 1_000_000 });
    expect(seconds(20)).toBeGreaterThan(1.9 * seconds(10));
    expect(seconds(10_000)).toBe(seconds(300));
    expect(seconds(300)).toBeLessThanOrEqual(30_000 + 300 * 3);
  });

  test("of a video file follows the frames that are wanted", () => {
    const medium = { kind: "videoFile", bytes: 60_000_000 } as const;
    expect(file({ ...medium, fps: 0.25 })).toBeLessThan(file(medium));
    expect(file({ ...medium, maxFrames: 4 })).toBe(file({ kind: "videoFile", bytes: 2_000_000 }));
    expect(file({ ...medium, cap: { maxPixels: 28 * 28 * 10, onTooLarge: "downscale" } })).toBeLessThanOrEqual(
      60 * (10 + 3),
    );
  });

  test("of a PDF counts its pages, or guesses them", () => {
    const page = 2_520 + 2;
    expect(file({ kind: "pdf", bytes: 9, dpi: 144, pages: [4, 2, 7] })).toBe(3 * page);
    expect(file({ kind: "pdf", bytes: 1_000_000, dpi: 144 })).toBe(10 * page);
    expect(file({ kind: "pdf", bytes: 250_000_000, dpi: 144 })).toBe(300 * page);
    expect(file({ kind: "pdf", bytes: 9, dpi: 72 })).toBeLessThan(page / 3);
  });

  test("of what is only counted is nothing but its bytes", () => {
    const cost = estimateCost({ ...pictures(headers.png), count: true }, published);
    expect(cost).toEqual({ promptTokens: 0, newTokens: 0, mediaBytes: headers.png.byteLength });
  });

  test("of a capped picture is what the cap leaves", () => {
    const cap = { maxPixels: 28 * 28 * 20, onTooLarge: "downscale" } as const;
    const media = [{ kind: "image", bytes: headers.png.byteLength, cap } as const];
    expect(mediaTokens(submission({ media, frames: [headers.png] }))).toBeLessThanOrEqual(20 + 2);
  });

  test("is by the worker's own numbers once one is ready", () => {
    const limits = { patchSize: 14, mergeSize: 2, temporalPatchSize: 2, minPixels: 12_544, maxPixels: 150_528 };
    const ready = { imageLimits: limits, videoLimits: limits };
    expect(mediaTokens(pictures(headers.png), ready)).toBeLessThanOrEqual(96 + 2);
  });

  test("of text grows with its bytes, whatever its language", () => {
    const tokens = (text: string) => {
      const messages: Submission["messages"] = [{ role: "user", content: [{ type: "text", text }] }];
      return estimateCost(submission({ messages }), published).promptTokens;
    };
    expect(tokens("a".repeat(4_000)) - tokens("")).toBe(1_000);
    expect(tokens("图".repeat(4_000)) - tokens("")).toBe(3_000);
  });

  test.each([
    ["the default", undefined, 1_024],
    ["few", 5, 5],
    ["more than answers take", 8_192, 1_024],
  ])("of what will be generated is bounded: %s", (_, maxNewTokens, expected) => {
    const options = maxNewTokens === undefined ? { seed: 1 } : { seed: 1, maxNewTokens };
    expect(estimateCost(submission({ options }), published).newTokens).toBe(expected);
  });

  test("has the bytes of all frames", () => {
    expect(estimateCost(pictures(headers.png, jpegHeader()), published).mediaBytes).toBe(30 + jpegHeader().byteLength);
  });
});

describe("the work that remains", () => {
  const cost: Cost = { promptTokens: 500, newTokens: 160, mediaBytes: 0 };
  test.each([
    ["at first, prompt and answer", 0, false, 660],
    ["after the prompt, the answer", 0, true, 160],
    ["in the middle, the rest of the answer", 100, true, 60],
    ["beyond what was expected, a little more", 400, true, 10],
    ["on another worker, prompt and delivered tokens again", 100, false, 660],
  ])("is %s", (_, generated, prefilled, expected) => {
    expect(outstanding(cost, generated, prefilled)).toBe(expected);
  });
});
