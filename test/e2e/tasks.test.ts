// The ready tasks and the chat, on the embedded model.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { packageRoot } from "../../orchestrator/package-root.ts";
import { type Glimpse, launch, pdf, tasks, video } from "../../sdk/index.ts";
import { drawPictures } from "./pictures.ts";

const shapes = join(packageRoot, "examples", "pictures", "shapes.png");
const receipt = join(packageRoot, "examples", "pictures", "receipt.png");

let glm: Glimpse;
let file: (name: string) => string;
beforeAll(async () => {
  [glm, file] = await Promise.all([launch(), drawPictures("draw_files.py")]);
});
afterAll(async () => {
  await glm.close();
});

const sentence = "A red circle, an orange star and a blue square on a white background.";

describe("a ready task", () => {
  test("captions in one sentence, without a thought", async () => {
    const { text, thinking, usage } = await glm.caption(shapes);
    expect({ text, thinking }).toEqual({ text: sentence, thinking: "" });
    // The two tags that are written for the model.
    expect(usage.thinkingTokens).toBe(2);
  });

  test("describes at length, and thinks where it may", async () => {
    const { text, thinking } = await glm.describe(shapes, { thinking: true });
    expect(text).toMatch(/^The image has a white background\. It shows three shapes\./);
    expect(thinking).not.toBe("");
  });

  test("says what happens in a video", async () => {
    expect((await glm.describe(video(file("moving.mp4")))).text).toBe("The red circle moves right.");
  });

  test("reads pages, each in a request of its own", async () => {
    const { text, pages } = await glm.ocr([receipt, receipt], { format: "markdown" });
    expect(pages.map(({ page }) => page)).toEqual([1, 2]);
    expect(pages[0]?.text).toMatch(/^\| Harbour \| Cafe \|\n\| --- \| --- \|\n/);
    expect(text).toBe(`${pages[0]?.text}\n\n${pages[1]?.text}`);
    expect((await glm.ocr(receipt)).text.split("\n")[0]).toBe("Harbour Cafe");
  });

  test("reads the pages of a PDF, all or those that are named", async () => {
    const all = await glm.ocr(pdf(file("pages.pdf"), { dpi: 72 }));
    expect(all.pages.map(({ page }) => page)).toEqual([1, 2, 3]);
    expect(all.pages[1]?.text).toBe("GLIMPSE");
    const some = await glm.ocr(pdf(file("pages.pdf"), { dpi: 72, pages: "2" }));
    expect(some).toMatchObject({ text: "GLIMPSE", pages: [{ page: 2 }] });
  });

  test("reads a PDF's bytes once for all of its pages, and not at all for a signal that has fired", async () => {
    let reads = 0;
    class Counted extends Blob {
      override arrayBuffer(): Promise<ArrayBuffer> {
        reads += 1;
        return super.arrayBuffer();
      }
    }
    const document = pdf(new Counted([readFileSync(file("pages.pdf"))]), { dpi: 72 });
    expect((await glm.ocr(document)).pages).toHaveLength(3);
    expect(reads).toBe(1);
    const signal = AbortSignal.abort("enough");
    await expect(glm.ocr(document, { signal })).rejects.toMatchObject({ code: "ABORTED", cause: "enough" });
    await expect(glm.ocr(pdf("/no/such.pdf"))).rejects.toMatchObject({ code: "FILE_NOT_FOUND" });
  });

  test("refuses an option that it has not, and names those that it has", async () => {
    await expect(glm.caption(shapes, { thinkin: true } as never)).rejects.toMatchObject({
      code: "INVALID_REQUEST",
      message: expect.stringMatching(/^options of a task: expected only prompt, thinking, .*, got "thinkin"$/),
      hint: "Did you mean thinking?",
    });
    await expect(glm.ocr(receipt, { fromat: "markdown" } as never)).rejects.toMatchObject({
      hint: "Did you mean format?",
    });
    await expect(glm.caption(shapes, { format: "markdown" } as never)).rejects.toThrow('got "format"');
  });

  test("names the page that fails", async () => {
    await expect(glm.ocr([receipt, "/no/such/page.png"])).rejects.toMatchObject({
      code: "FILE_NOT_FOUND",
      message: expect.stringContaining("/no/such/page.png"),
    });
  });

  test("points, and labels what it points at", async () => {
    const { boxes } = await glm.locate(shapes, "the blue square");
    expect(boxes).toHaveLength(1);
    expect(boxes[0]).toMatchObject({ image: 0, label: "the blue square" });
    const [left = 0, top = 0, right = 0, bottom = 0] = boxes[0]?.box ?? [];
    // examples/pictures/shapes.png has it there.
    for (const [found, drawn] of [
      [left, 392],
      [top, 150],
      [right, 522],
      [bottom, 280],
    ] as const) {
      expect(Math.abs(found - drawn)).toBeLessThan(12);
    }
  });

  test("may be asked as one of many", async () => {
    const texts: string[] = [];
    for await (const ending of glm.batch([shapes, receipt], (picture) => tasks.caption(picture))) {
      texts.push(ending.ok ? ending.result.text : ending.error.code);
    }
    expect(texts[0]).toBe(sentence);
    expect(texts).toHaveLength(2);
  });
});

test("each turn of a chat reuses what the engine has computed for those before it", async () => {
  const chat = glm.chat({ temperature: 0, maxThinkingTokens: 0 });
  const questions = ["Describe this image.", "How many shapes are there?", "What colour is the circle?"];
  const turns = [];
  for (const [index, question] of questions.entries()) {
    const images = index === 0 ? [shapes] : undefined;
    turns.push((await chat.send(question, { images, seed: index }).result).usage);
  }
  const cached = turns.map(({ cachedTokens }) => cachedTokens);
  expect(cached[1]).toBeGreaterThan(cached[0] ?? 0);
  expect(cached[2]).toBeGreaterThan(cached[1] ?? 0);
  // All but the last pages of keys and values, and the picture not at all.
  expect(turns[2]?.cachedImageTokens).toBe(turns[2]?.imageTokens);
  expect(chat.messages).toHaveLength(6);
});
