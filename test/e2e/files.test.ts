import { createReadStream } from "node:fs";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type GenerateOptions, type Glimpse, image, launch, type PromptInput, pdf, video } from "../../sdk/index.ts";
import { drawPictures } from "./pictures.ts";

let file: (name: string) => string;
let paged: Glimpse;
let reference: Glimpse;
beforeAll(async () => {
  [file, paged, reference] = await Promise.all([
    drawPictures("draw_files.py"),
    launch(),
    launch({ engine: "reference" }),
  ]);
});
afterAll(async () => {
  await Promise.all([paged.close(), reference.close()]);
});

const watch = (): PromptInput & GenerateOptions => ({
  prompt: "What happens in this video?",
  video: file("moving.mp4"),
  temperature: 0,
});
const read = (page: number): PromptInput & GenerateOptions => ({
  prompt: "Read the text in this image.",
  pdf: pdf(file("pages.pdf"), { pages: [page], dpi: 72 }),
  temperature: 0,
});

describe.each(["paged", "reference"] as const)("with engine %s", (engine) => {
  const client = () => (engine === "paged" ? paged : reference);

  test("what moves in a video file is followed", async () => {
    expect((await client().generate(watch())).text).toBe("The red circle moves right.");
  });

  test("a page of a PDF is read, and no other", async () => {
    expect((await client().generate(read(2))).text).toBe("GLIMPSE");
    expect((await client().generate({ ...read(3), prompt: "Describe this image." })).text).toContain("red circle");
  });

  test("as many tokens are counted as are used", async () => {
    const inputs = [watch(), read(1), { prompt: "Describe this image.", images: [file("shapes.png")] }];
    for (const input of inputs) {
      const [count, { usage }] = await Promise.all([
        client().count(input),
        client().generate({ ...input, maxNewTokens: 1 }),
      ]);
      expect(count).toMatchObject({ promptTokens: usage.promptTokens, imageTokens: usage.imageTokens, fits: true });
    }
  });
});

describe("files", () => {
  test.each([72, 144])("a box in a PDF names its page and is in pixels of it at %i dpi", async (dpi) => {
    const document = pdf(file("pages.pdf"), { pages: "1", dpi, maxPixels: 224 * 196 });
    const { boxes } = await paged.generate({ prompt: "Where is the blue square?", pdf: document, temperature: 0 });
    expect(boxes).toMatchObject([{ image: 0, page: 1 }]);
    for (const [index, edge] of [20, 40, 91, 111].entries()) {
      expect(Math.abs((boxes[0]?.box[index] ?? 0) - (edge * dpi) / 72)).toBeLessThan((8 * dpi) / 72);
    }
  });

  test("a count tells the frames that are seen of a video, and the pages of a PDF", async () => {
    const [seen, pages] = await Promise.all([paged.count(watch()), paged.count(read(2))]);
    expect(seen.media).toMatchObject([{ kind: "video", frames: 8, durationMs: 4000 }]);
    expect(pages.media).toMatchObject([{ kind: "pdf", pages: 3, pageTokens: [expect.any(Number)] }]);
    const more = await paged.count({ ...watch(), video: video(file("moving.mp4"), { fps: 4, maxFrames: 12 }) });
    expect(more.media).toMatchObject([{ kind: "video", frames: 12 }]);
  });

  test("a video may come as a stream", async () => {
    const { text } = await paged.generate({ ...watch(), video: createReadStream(file("moving.mp4")) });
    expect(text).toBe("The red circle moves right.");
  });

  test("a second question about a video does not look at it again", async () => {
    await paged.generate(watch());
    const { usage } = await paged.generate({ ...watch(), prompt: "Where is the circle at the end?" });
    expect(usage.cachedImageTokens).toBe(usage.imageTokens);
  });

  test("a cap makes a picture cheaper, or refuses it before anything is computed", async () => {
    const input = { prompt: "Describe this image.", temperature: 0 };
    const whole = await paged.generate({ ...input, images: [file("shapes.png")] });
    const capped = await paged.generate({ ...input, images: [image(file("shapes.png"), { maxPixels: 112 * 112 })] });
    expect(capped.usage.imageTokens).toBeLessThanOrEqual(16);
    expect(capped.usage.imageTokens).toBeLessThan(whole.usage.imageTokens);
    const refused = image(file("shapes.png"), { maxPixels: 112 * 112, onTooLarge: "refuse" });
    await expect(paged.generate({ ...input, images: [refused] })).rejects.toMatchObject({
      code: "IMAGE_TOO_LARGE",
      message: expect.stringContaining("shapes.png: picture 1 is 224 × 196"),
    });
  });

  test("a file that is broken, or a page that is not there, is named and costs the worker nothing", async () => {
    const pid = paged.workers()[0]?.pid;
    await expect(paged.generate({ ...watch(), video: file("broken.mp4") })).rejects.toMatchObject({
      code: "VIDEO_UNREADABLE",
      message: expect.stringContaining("broken.mp4: the video is "),
    });
    await expect(paged.generate(read(4))).rejects.toMatchObject({
      code: "INVALID_REQUEST",
      message: expect.stringContaining("pages.pdf: pages: expected pages of the PDF, which has 3, got 4"),
    });
    expect(paged.workers()[0]?.pid).toBe(pid);
  });
});
