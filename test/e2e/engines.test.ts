import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type AnyInput, type GenerateInput, type Glimpse, launch } from "../../sdk/index.ts";
import { longAnswer } from "./long-answer.ts";
import { drawPictures } from "./pictures.ts";

let picture: (name: string) => string;
beforeAll(async () => {
  picture = await drawPictures();
});

const about = (name: string, prompt: string): GenerateInput => ({ prompt, images: [picture(name)], temperature: 0 });

describe("the engine paged", () => {
  let glm: Glimpse;
  beforeAll(async () => {
    glm = await launch({ device: "cpu", kvCacheMemoryBytes: 32 * 1024 * 1024 });
  });
  afterAll(async () => {
    await glm.close();
  });

  test("is the default, and its cache has the size that was asked for", () => {
    const [worker] = glm.workers();
    // Keys and values of 4 layers, 2 heads and 32 dimensions in float32.
    expect(worker).toMatchObject({ engine: "paged", kvCacheTokens: (32 * 1024 * 1024) / (2 * 4 * 2 * 32 * 4) });
  });

  test("says how much a cache needs that is too small for anything", async () => {
    await expect(launch({ kvCacheMemoryBytes: 1000 })).rejects.toMatchObject({
      code: "INVALID_REQUEST",
      message: expect.stringMatching(/^kvCacheMemoryBytes: expected at least \d+ bytes .* got 1000$/),
    });
  });

  test("reuses what it has computed of a picture and of a beginning that two requests share", async () => {
    const first = await glm.generate(about("shapes.png", "Describe this image."));
    expect(first.usage).toMatchObject({ cachedTokens: 0, cachedImageTokens: 0 });
    const second = await glm.generate(about("shapes.png", "How many shapes are there?"));
    expect(second.text).toContain("2");
    expect(second.usage.cachedImageTokens).toBe(second.usage.imageTokens);
    expect(second.usage.cachedTokens).toBeGreaterThan(0);
    expect(second.usage.cachedTokens).toBeLessThan(second.usage.promptTokens);
  });

  test("starts the answer at once with maxThinkingTokens 0", async () => {
    const input = { ...about("glimpse.png", "Read the text in this image."), maxThinkingTokens: 0 };
    const { raw, thinking, text, usage, tokenIds } = await glm.generate(input);
    expect(raw).toMatch(/^<think><\/think><answer>/);
    expect({ thinking, thinkingTokens: usage.thinkingTokens }).toEqual({ thinking: "", thinkingTokens: 2 });
    expect(text).toBe("GLIMPSE");
    expect(usage.completionTokens).toBe(tokenIds.length);
  });

  test("closes the thinking when maxThinkingTokens are used up, and answers", async () => {
    const input = { ...about("circle.png", "Describe this image."), maxThinkingTokens: 2 };
    const { raw, thinking, text, usage } = await glm.generate(input);
    expect(thinking).not.toBe("");
    expect(raw.startsWith(`<think>${thinking}</think><answer>`)).toBe(true);
    expect(usage.thinkingTokens).toBe(4);
    expect(text).toBe("A red circle on a white background.");
  });

  test("draws the same tokens for the same seed whatever runs beside the request", async () => {
    const drawn: GenerateInput = { prompt: "Hello", temperature: 8, seed: 7, maxNewTokens: 40 };
    const alone = await glm.generate(drawn);
    const others = Array.from({ length: 7 }, (_, seed) => glm.generate({ ...drawn, prompt: "Who are you?", seed }));
    const [together] = await Promise.all([glm.generate(drawn), ...others]);
    expect(together.tokenIds).toEqual(alone.tokenIds);
    expect((await glm.generate({ ...drawn, seed: 8 })).tokenIds).not.toEqual(alone.tokenIds);
  });

  test("goes on with an answer, greedy or drawn, after the tokens of a worker that was killed", async () => {
    const inputs: AnyInput[] = [
      { prompt: "Hello", temperature: 8, seed: 7, output: longAnswer },
      { prompt: "Count from 1 to 40.", temperature: 0, output: longAnswer },
    ];
    const undisturbed = await Promise.all(inputs.map((input) => glm.generate(input)));
    const streams = inputs.map((input) => glm.stream(input));
    await Promise.all(streams.map(hasBegun));
    killWorker(glm);
    const resumed = await Promise.all(streams.map(({ result }) => result));
    for (const [index, { tokenIds, raw, text, resumed: times }] of resumed.entries()) {
      const expected = undisturbed[index];
      expect({ tokenIds, raw, text }).toEqual({
        tokenIds: expected?.tokenIds,
        raw: expected?.raw,
        text: expected?.text,
      });
      expect(times).toBe(1);
    }
  });
});

/** Resolves when the stream has some text; it goes on. */
async function hasBegun(stream: AsyncIterable<{ type: string }>): Promise<void> {
  const events = stream[Symbol.asyncIterator]();
  for (let texts = 0; texts < 1; ) {
    const { value, done } = await events.next();
    if (done) throw new Error("the answer was over before it had begun");
    if (value.type === "text" || value.type === "thinking") texts += 1;
  }
}

function killWorker(glm: Glimpse): void {
  process.kill(glm.workers()[0]?.pid as number, "SIGKILL");
}

describe("the engine reference", () => {
  let glm: Glimpse;
  beforeAll(async () => {
    glm = await launch({ engine: "reference" });
  });
  afterAll(async () => {
    await glm.close();
  });

  test("says that it runs, and that it has no cache", () => {
    expect(glm.workers()).toMatchObject([{ engine: "reference", kvCacheTokens: undefined }]);
  });

  test("refuses maxThinkingTokens by name, and answers the next request without a cache", async () => {
    const input = about("circle.png", "Describe this image.");
    await expect(glm.generate({ ...input, maxThinkingTokens: 0 })).rejects.toMatchObject({
      code: "INVALID_REQUEST",
      message: "maxThinkingTokens: the reference engine cannot bound the thinking",
      hint: 'Launch with engine "paged". A ready task takes thinking: true, and then sets no bound.',
    });
    for (let repeated = 0; repeated < 2; repeated++) {
      const { text, usage } = await glm.generate(input);
      expect(text).toBe("A red circle on a white background.");
      expect(usage).toMatchObject({ cachedTokens: 0, cachedImageTokens: 0 });
    }
  });

  test("fails a drawn answer by name when its worker is killed, with what there is", async () => {
    const stream = glm.stream({ prompt: "Hello", temperature: 8, seed: 7, maxNewTokens: 500 });
    await hasBegun(stream);
    killWorker(glm);
    await expect(stream.result).rejects.toMatchObject({
      code: "WORKER_LOST",
      retryable: true,
      message: expect.stringContaining("the reference engine cannot go on in the middle of a sampled answer"),
      partial: { raw: expect.stringMatching(/./) },
    });
  });
});
