import { readFile } from "node:fs/promises";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type Glimpse, image, launch, video } from "../../sdk/index.ts";
import { longAnswer } from "./long-answer.ts";
import { drawPictures } from "./pictures.ts";

let glm: Glimpse;
let picture: (name: string) => string;
beforeAll(async () => {
  [glm, picture] = await Promise.all([launch(), drawPictures()]);
});
afterAll(async () => {
  await glm.close();
});

const ask = async (prompt: string, ...images: string[]) =>
  glm.generate({ prompt, images: images.map((name) => picture(name)), temperature: 0 });

test("the model describes a red circle", async () => {
  const { text, thinking, raw, finishReason, boxes } = await ask("Describe this image.", "circle.png");
  expect(text).toBe("A red circle on a white background.");
  expect(thinking).not.toBe("");
  expect(raw).toBe(`<think>${thinking}</think><answer>${text}</answer><|user|>`);
  expect({ finishReason, boxes }).toEqual({ finishReason: "stop", boxes: [] });
});

test("the model reads the word GLIMPSE", async () => {
  expect((await ask("Read the text in this image.", "glimpse.png")).text).toBe("GLIMPSE");
});

test("the model counts, names a colour and says what is not there", async () => {
  expect((await ask("How many shapes are there?", "shapes.png")).text).toContain("2");
  expect((await ask("What colour is the square?", "shapes.png")).text.toLowerCase()).toContain("blue");
  expect((await ask("Is there a red star?", "shapes.png")).text.toLowerCase()).toContain("no");
});

test.each(["circle.jpg", "circle.webp", "circle.gif", "circle-cmyk.jpg", "circle-alpha.png", "animated.gif"])(
  "a picture is seen the same as %s",
  async (name) => {
    expect((await ask("Describe this image.", name)).text).toBe("A red circle on a white background.");
  },
);

test("an animated picture is read by its first frame, with a warning that names it", async () => {
  const { warnings } = await ask("Describe this image.", "animated.gif");
  expect(warnings).toMatchObject([{ code: "IMAGE_FIRST_FRAME", message: expect.stringContaining("animated.gif") }]);
});

const BLUE_SQUARE = [20, 40, 91, 111];

test.each(["shapes.png", "turned.png"])("a box is in pixels of the picture as people see it: %s", async (name) => {
  const { boxes, text, raw } = await ask("Where is the blue square?", name);
  expect(boxes).toHaveLength(1);
  expect(boxes[0]?.image).toBe(0);
  for (const [index, edge] of BLUE_SQUARE.entries()) {
    expect(Math.abs((boxes[0]?.box[index] ?? 0) - edge)).toBeLessThan(8);
  }
  expect(text).toMatch(/\[\[\d+, ?\d+, ?\d+, ?\d+\]\]/);
  expect(raw).toContain("<|begin_of_box|>");
});

test("a box streams as an event of its own", async () => {
  const events: string[] = [];
  const stream = glm.stream({ prompt: "Where is the blue square?", images: [picture("shapes.png")], temperature: 0 });
  for await (const event of stream) if (events.at(-1) !== event.type) events.push(event.type);
  expect(events).toEqual(["queued", "thinking", "text", "box", "finish"]);
});

test("a picture is taken from a path, bytes, a Blob, base64 and a data URL", async () => {
  const bytes = await readFile(picture("circle.png"));
  const base64 = bytes.toString("base64");
  const sources = [
    bytes,
    new Uint8Array(bytes),
    new Blob([bytes]),
    image({ base64 }),
    `data:image/png;base64,${base64}`,
  ];
  for (const source of sources) {
    const { text } = await glm.generate({ prompt: "Describe this image.", images: [source], temperature: 0 });
    expect(text).toBe("A red circle on a white background.");
  }
});

test("a video of frames is followed", async () => {
  const frames = Array.from({ length: 8 }, (_, index) => picture(`frame${index}.png`));
  const { text, usage } = await glm.generate({
    prompt: "What happens in this video?",
    video: video({ frames, fps: 2 }),
    temperature: 0,
  });
  expect(text).toContain("right");
  expect(usage.imageTokens).toBe(4 * 16);
});

test("two pictures are told apart, and a second turn remembers the first", async () => {
  const both = await ask("Read the text in the second image.", "circle.png", "glimpse.png");
  expect(both.text).toBe("GLIMPSE");
  const { text } = await glm.generate({
    messages: [
      {
        role: "user",
        content: [
          { type: "image", url: picture("shapes.png") },
          { type: "text", text: "Describe this image." },
        ],
      },
      { role: "assistant", content: "<think>two</think><answer>A blue square and a green triangle.</answer>" },
      { role: "user", content: "How many shapes are there?" },
    ],
    temperature: 0,
  });
  expect(text).toContain("2");
});

test("usage and timing are those of the request", async () => {
  const { usage, timing, worker, tokenIds, seed } = await ask("Describe this image.", "circle.png");
  expect(usage.imageTokens).toBe(64);
  expect(usage.promptTokens).toBeGreaterThan(64);
  expect(usage.completionTokens).toBe(tokenIds.length);
  expect(usage.thinkingTokens).toBeGreaterThan(0);
  expect(usage.thinkingTokens).toBeLessThan(usage.completionTokens);
  expect(timing.firstTokenMs).toBeLessThan(timing.totalMs);
  expect(timing.tokensPerSecond).toBeGreaterThan(0);
  expect(worker).toMatchObject({ id: "worker-0", device: { kind: "cpu", id: "cpu" } });
  expect(seed).toBeGreaterThanOrEqual(0);
});

test("stop ends the answer before the text, maxNewTokens ends it by length", async () => {
  const stopped = await glm.generate({
    prompt: "Describe this image.",
    images: [picture("circle.png")],
    temperature: 0,
    stop: " circle",
  });
  expect(stopped).toMatchObject({ text: "A red", finishReason: "stop" });
  const short = await glm.generate({
    prompt: "Describe this image.",
    images: [picture("circle.png")],
    temperature: 0,
    maxNewTokens: 3,
  });
  expect(short).toMatchObject({ finishReason: "length", usage: { completionTokens: 3 } });
});

test("leaving the loop frees the worker within one token", async () => {
  const stream = glm.stream({ prompt: "Describe this image.", images: [picture("circle.png")], output: longAnswer });
  for await (const event of stream) if (event.type === "thinking") break;
  const { finishReason, usage, tokenIds } = await stream.result;
  expect(finishReason).toBe("cancelled");
  expect(usage.completionTokens).toBe(tokenIds.length);
  expect((await ask("Describe this image.", "circle.png")).finishReason).toBe("stop");
});
