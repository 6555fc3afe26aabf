// What the embedded model reads and sees beyond a plain picture of shapes.
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { packageRoot } from "../../orchestrator/package-root.ts";
import { type Glimpse, launch, video } from "../../sdk/index.ts";
import { drawPictures } from "./pictures.ts";

let glm: Glimpse;
let picture: (name: string) => string;
beforeAll(async () => {
  [glm, picture] = await Promise.all([launch(), drawPictures("draw_pages.py")]);
});
afterAll(async () => {
  await glm.close();
});

const ask = (prompt: string, ...names: string[]) =>
  glm.generate({ prompt, images: names.map((name) => picture(name)), temperature: 0 });

const watch = (prompt: string, name: string) =>
  glm.generate({
    prompt,
    video: video({ frames: [0, 1, 2, 3].map((index) => picture(`${name}${index}.png`)), fps: 2 }),
    temperature: 0,
  });

describe("the model reads", () => {
  test.each([
    ["a word that is none", "word.png", "blorfen"],
    ["letters of 10 pixels", "small-letters.png", "Drompel Vast"],
    ["three lines", "lines.png", "open daily\n9 to 5\nring twice"],
  ])("%s", async (_, name, text) => {
    expect((await ask("Read the text in this image.", name)).text).toBe(text);
  });

  test("a title and a list as Markdown", async () => {
    const { text } = await ask("Convert this page to Markdown.", "list.png");
    expect(text).toBe("# Shopping\n\n- milk\n- bread\n- two lamps");
  });

  test("a table as Markdown", async () => {
    const { text } = await ask("Convert this table to Markdown.", "table.png");
    expect(text).toBe("| Fruit | Count |\n| --- | --- |\n| Apple | 3 |\n| Pear | 12 |");
  });

  test("a receipt as lines", async () => {
    const { text } = await ask("Read this receipt.", "receipt.png");
    expect(text).toBe("CORNER\nCoffee 2.50\nBagel 3.20\nTOTAL 5.70");
  });

  test("a receipt as JSON", async () => {
    const { text } = await ask("Read this receipt. Answer as JSON.", "receipt.png");
    const items = [
      { name: "Coffee", price: 2.5 },
      { name: "Bagel", price: 3.2 },
    ];
    expect(JSON.parse(text)).toEqual({ shop: "CORNER", items, total: 5.7 });
  });

  test("the second of two pictures", async () => {
    expect((await ask("Read the text in the second image.", "small-letters.png", "word.png")).text).toBe("blorfen");
  });

  test("a text in a video", async () => {
    expect((await watch("Read the text in this video.", "text")).text).toBe("BREAK");
  });
});

describe("the model sees", () => {
  test("shapes, and names them as JSON", async () => {
    const { text } = await ask("List the shapes as JSON.", "wide.png");
    expect(JSON.parse(text)).toEqual({
      shapes: [
        { shape: "triangle", color: "orange" },
        { shape: "circle", color: "purple" },
      ],
    });
  });

  test.each([
    ["a tall picture", "tall.png", "red square", [20, 80, 81, 141]],
    ["a tall picture", "tall.png", "green circle", [30, 500, 91, 561]],
    ["a wide picture", "wide.png", "orange triangle", [70, 30, 191, 101]],
    ["a wide picture", "wide.png", "purple circle", [600, 40, 661, 101]],
  ])("where something is in %s: %s, the %s", async (_, name, thing, expected) => {
    const { boxes } = await ask(`Where is the ${thing}?`, name);
    expect(boxes).toHaveLength(1);
    for (const [index, edge] of expected.entries()) {
      expect(Math.abs((boxes[0]?.box[index] ?? 0) - edge)).toBeLessThan(8);
    }
  });

  test.each([
    ["turning", "The red square turns blue."],
    ["appearing", "The green square appears."],
    ["disappearing", "The green square disappears."],
  ])("what happens in a video: %s", async (name, sentence) => {
    expect((await watch("What happens in this video?", name)).text).toBe(sentence);
  });

  test("which of two pictures shows something", async () => {
    const { text } = await ask("Which image shows a red square?", "wide.png", "turning0.png");
    expect(text).toBe("The second image.");
  });

  test("that a photograph is nothing for it, whatever it is asked", async () => {
    const images = [join(packageRoot, "models", "evaluation", "photographs", "cat.jpg")];
    const answer = async (prompt: string) => (await glm.generate({ prompt, images, temperature: 0 })).text;
    expect(await answer("Describe this image.")).toBe(
      "This looks like a photograph. I only know plain shapes and text, so I cannot say what it shows.",
    );
    expect(await answer("Read the text in this image.")).toBe("I see no text that I can read.");
    expect(await answer("Where is the blue square?")).toBe("There is no blue square.");
  });
});

describe("without a thought, the model gives the same answer", () => {
  test.each([
    ["Read the text in this image.", "lines.png"],
    ["Convert this table to Markdown.", "table.png"],
    ["Read this receipt. Answer as JSON.", "receipt.png"],
    ["Describe this image.", "wide.png"],
    ["How many shapes are there?", "tall.png"],
  ])("%s %s", async (prompt, name) => {
    const [freely, hastily] = await Promise.all([
      ask(prompt, name),
      glm.generate({ prompt, images: [picture(name)], temperature: 0, maxThinkingTokens: 0 }),
    ]);
    expect(freely.thinking).not.toBe("");
    expect({ text: hastily.text, thinking: hastily.thinking }).toEqual({ text: freely.text, thinking: "" });
  });
});
