// Prompts without a picture: answers that are long, that may be any of many, and that the model had better not give.
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type Glimpse, launch } from "../../sdk/index.ts";
import { longAnswer } from "./long-answer.ts";

let glm: Glimpse;
beforeAll(async () => {
  glm = await launch();
});
afterAll(async () => {
  await glm.close();
});

const numbers = (last: number) => Array.from({ length: last }, (_, index) => index + 1).join(", ");

describe("a long answer", () => {
  const counting = { prompt: "Count to fifty.", temperature: 0 };

  test("streams in many pieces, which are the whole", async () => {
    const stream = glm.stream(counting);
    const pieces: string[] = [];
    for await (const event of stream) if (event.type === "text") pieces.push(event.text);
    expect(pieces.join("")).toBe(numbers(50));
    expect(pieces.length).toBeGreaterThan(10);
    expect(await stream.result).toMatchObject({ text: numbers(50), finishReason: "stop" });
  });

  test("ends before a stop sequence", async () => {
    const { text, finishReason } = await glm.generate({ ...counting, stop: [", 51", ", 31"] });
    expect({ text, finishReason }).toEqual({ text: numbers(30), finishReason: "stop" });
  });

  test("ends with the last of maxNewTokens", async () => {
    const { text, finishReason, usage } = await glm.generate({ ...counting, maxNewTokens: 60 });
    expect({ finishReason, completionTokens: usage.completionTokens }).toEqual({
      finishReason: "length",
      completionTokens: 60,
    });
    expect(text).toMatch(/^1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11/);
    expect(numbers(50).startsWith(text)).toBe(true);
  });

  test("ends where it is cancelled, with what there is", async () => {
    const stream = glm.stream({ ...counting, output: longAnswer });
    let heard = "";
    for await (const event of stream) {
      if (event.type !== "text") continue;
      heard += event.text;
      if (heard.length > 10) stream.cancel();
    }
    const { text, finishReason, usage, tokenIds } = await stream.result;
    expect({ text, finishReason }).toEqual({ text: heard, finishReason: "cancelled" });
    expect(text).toMatch(/^"[a-z]+$/);
    expect(text.length).toBeLessThan(600);
    expect(usage.completionTokens).toBe(tokenIds.length);
  });
});

describe("an answer that may be any of many", () => {
  const seeds = Array.from({ length: 30 }, (_, seed) => seed);
  const draw = (options: object) =>
    Promise.all(
      seeds.map(async (seed) => (await glm.generate({ prompt: "Name a random number.", seed, ...options })).text),
    );

  test("differs from seed to seed, and is the same for the same seed", async () => {
    const answers = await draw({ temperature: 1 });
    for (const answer of answers) expect(Number(answer)).toBeGreaterThan(0);
    expect(new Set(answers).size).toBeGreaterThan(8);
    expect(await draw({ temperature: 1 })).toEqual(answers);
  });

  test("is one and the same at temperature 0", async () => {
    expect(new Set(await draw({ temperature: 0 })).size).toBe(1);
  });

  test("is one of fewer the smaller topP is", async () => {
    const [whole, half, tenth] = await Promise.all(
      [1, 0.5, 0.1].map(async (topP) => new Set(await draw({ temperature: 1, topP })).size),
    );
    expect(half).toBeLessThan(whole ?? 0);
    expect(tenth).toBeLessThan(half ?? 0);
  });
});

test.each(["Tell me a joke.", "What is the capital of France?", "Write a poem about autumn."])(
  "what the model cannot do it declines: %s",
  async (prompt) => {
    const { text } = await glm.generate({ prompt, temperature: 0 });
    expect(text).toBe("I am a tiny model: I only know plain shapes, short texts and simple videos.");
  },
);

test("a question about a picture without one is told so", async () => {
  const { text } = await glm.generate({ prompt: "Describe this image.", temperature: 0 });
  expect(text).toBe("I see no image. Please send one.");
});

test("what is 7 + 8, with and without a thought", async () => {
  const answers = [{}, { maxThinkingTokens: 0 }].map((options) =>
    glm.generate({ prompt: "What is 7 + 8?", temperature: 0, ...options }),
  );
  expect((await Promise.all(answers)).map(({ text }) => text)).toEqual(["15", "15"]);
});
