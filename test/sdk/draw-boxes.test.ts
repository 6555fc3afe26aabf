import { readFileSync } from "node:fs";
import { join } from "node:path";
import { imageSize } from "image-size";
import { describe, expect, test } from "vitest";
import { packageRoot } from "../../orchestrator/package-root.ts";
import { drawBoxes } from "../../sdk/draw-boxes.ts";

const shapes = join(packageRoot, "examples", "pictures", "shapes.png");
const box = { box: [390, 150, 520, 280], label: "a blue square" } as const;

test("boxes are drawn on a picture of any source, as a PNG of its size", async () => {
  const drawn = await drawBoxes(readFileSync(shapes), [box, { box: [10, 10, 50, 50] }]);
  expect(imageSize(drawn)).toMatchObject({ type: "png", width: 560, height: 336 });
  // Without boxes it is another picture; the same call gives the same bytes.
  expect(Buffer.from(await drawBoxes(shapes, [])).equals(drawn)).toBe(false);
  expect(Buffer.from(await drawBoxes(shapes, [box, { box: [10, 10, 50, 50] }])).equals(drawn)).toBe(true);
});

test("a picture that cannot be read is named as the caller named it", async () => {
  await expect(drawBoxes(Buffer.from("GIF89a"), [])).rejects.toMatchObject({
    code: "IMAGE_UNREADABLE",
    message: expect.stringMatching(/^image \(Buffer, 6 bytes\): the picture/),
  });
  await expect(drawBoxes("/no/such/file.png", [])).rejects.toMatchObject({ code: "FILE_NOT_FOUND" });
});

test("a signal ends it", async () => {
  await expect(drawBoxes(shapes, [], { signal: AbortSignal.abort(new Error("enough")) })).rejects.toMatchObject({
    code: "ABORTED",
    cause: new Error("enough"),
  });
  const controller = new AbortController();
  const drawing = drawBoxes(shapes, [box], { signal: controller.signal });
  setImmediate(() => controller.abort());
  await expect(drawing).rejects.toMatchObject({ code: "ABORTED" });
});

describe("what is no box or option is refused by name", () => {
  test.each([
    [{}, {}, "boxes: expected an array of boxes, got an object"],
    [[{ box: [1, 2, 3] }], {}, "boxes[0]: expected { box: [left, top, right, bottom] }, got an object"],
    [
      [{ box: [3, 2, 1, 4] }],
      {},
      "boxes[0].box: expected left, top, right, bottom, with left at most right and top at most bottom, got [3, 2, 1, 4]",
    ],
    [[{ ...box, label: 5 }], {}, "boxes[0].label: expected a text, got 5"],
    [[box], { lineWidth: 0.5 }, "drawBoxes(): lineWidth: expected a whole number from 1 to 1000, got 0.5"],
    [[box], { colors: [] }, "drawBoxes(): colors: expected an array of colours, got an empty array"],
    [[box], { colors: ["#ff7f0e", "red"] }, 'drawBoxes(): colors[1]: expected a colour such as "#ff7f0e", got "red"'],
    [
      [box],
      { width: 5 },
      'drawBoxes(): expected only lineWidth, colors, labels, python, allowHosts, signal, got "width"',
    ],
  ])("%j %j", async (boxes, options, message) => {
    await expect(drawBoxes(shapes, boxes as never, options as never)).rejects.toMatchObject({
      code: "INVALID_REQUEST",
      message,
    });
  });
});
