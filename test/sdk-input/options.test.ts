import { describe, expect, it } from "vitest";
import { prepareRequest } from "../../sdk/request/prepare.ts";
import { presets } from "../../sdk/request/presets.ts";
import { failure, prepare, prepareUntyped } from "./pictures.ts";

const expectations: [option: string, value: unknown, message: string][] = [
  ["maxNewTokens", 0, "expected a whole number of at least 1, got 0"],
  ["maxNewTokens", 1.5, "expected a whole number of at least 1, got 1.5"],
  ["maxNewTokens", "100", 'expected a whole number of at least 1, got "100"'],
  ["maxNewTokens", Number.POSITIVE_INFINITY, "expected a whole number of at least 1, got Infinity"],
  ["maxThinkingTokens", -1, "expected a whole number of at least 0, got -1"],
  ["maxThinkingTokens", 0.5, "expected a whole number of at least 0, got 0.5"],
  ["temperature", -0.1, "expected a number from 0 to 100, got -0.1"],
  ["temperature", Number.NaN, "expected a number from 0 to 100, got NaN"],
  ["temperature", null, "expected a number from 0 to 100, got null"],
  ["topP", 0, "expected a number above 0 and at most 1, got 0"],
  ["topP", 1.01, "expected a number above 0 and at most 1, got 1.01"],
  ["topK", 0, "expected a whole number of at least 1, got 0"],
  ["repetitionPenalty", 0, "expected a number from 0.01 to 100, got 0"],
  ["seed", -1, "expected a whole number from 0 to 4294967295, got -1"],
  ["seed", 2 ** 32, "expected a whole number from 0 to 4294967295, got 4294967296"],
  ["seed", 5n, "expected a whole number from 0 to 4294967295, got 5"],
  ["stop", "", 'expected a string or an array of strings, none of them empty, got ""'],
  ["stop", ["a", ""], "expected a string or an array of strings, none of them empty, got an array"],
  ["stop", /x/, "expected a string or an array of strings, none of them empty, got a RegExp"],
  ["timeoutMs", 0, "expected a whole number of milliseconds from 1 to 2147483647, got 0"],
  ["queueTimeoutMs", 2 ** 31, "expected a whole number of milliseconds from 1 to 2147483647, got 2147483648"],
  ["signal", {}, "expected an AbortSignal, got an object"],
  ["signal", new AbortController(), "expected an AbortSignal, got an AbortController"],
];

describe("an option with a wrong value is refused by name", () => {
  it.each(expectations)("%s: %s", async (option, value, message) => {
    const error = await failure(prepareUntyped({ prompt: "?", [option]: value }));
    expect(error).toMatchObject({ code: "INVALID_REQUEST", message: `${option}: ${message}` });
  });
});

describe("an option that does not exist is refused, and the one that was meant is named", () => {
  it.each([
    ["max_new_tokens", "maxNewTokens"],
    ["max_tokens", "maxNewTokens"],
    ["maxOutputTokens", "maxNewTokens"],
    ["maxNewToken", "maxNewTokens"],
    ["max_thinking_tokens", "maxThinkingTokens"],
    ["thinkingBudget", "maxThinkingTokens"],
    ["top_p", "topP"],
    ["topp", "topP"],
    ["top-k", "topK"],
    ["temprature", "temperature"],
    ["repetition_penalty", "repetitionPenalty"],
    ["stop_strings", "stop"],
    ["do_sample", "temperature"],
    ["image", "images"],
    ["message", "messages"],
    ["abortSignal", "signal"],
    ["timeout", "timeoutMs"],
    ["viedo", "video"],
  ])("%s → %s", async (given, meant) => {
    expect(await failure(prepareUntyped({ prompt: "?", [given]: 1 }))).toMatchObject({
      code: "INVALID_REQUEST",
      message: expect.stringMatching(
        new RegExp(`^input: expected only messages, prompt, .*maxNewTokens, .*signal, got "${given}"$`),
      ),
      hint: `Did you mean ${meant}?`,
    });
  });

  it.each(["n", "stream", "frequencyPenalty", "__proto", "x".repeat(10_000)])("%.20s is like none", async (given) => {
    const error = await failure(prepareUntyped({ prompt: "?", [given]: 1 }));
    expect(error).toMatchObject({ code: "INVALID_REQUEST", hint: expect.stringMatching(/^Remove /) });
  });
});

describe("options on their way to the worker", () => {
  it("are those of a preset, where nothing else is said", async () => {
    const { options } = await prepare({ prompt: "?", preset: "chat", topK: 5, temperature: undefined, seed: 1 });
    expect(options).toEqual({ ...presets.chat, topK: 5, seed: 1 });
  });

  it("are all passed on; one stop text becomes a list", async () => {
    const bounds = { maxNewTokens: 5, maxThinkingTokens: 0 };
    const options = { ...bounds, temperature: 0, topP: 1, topK: 1, repetitionPenalty: 0.5, seed: 0xffff_ffff };
    const { options: sent } = await prepare({ prompt: "?", ...options, stop: "END" });
    expect(sent).toEqual({ ...options, stop: ["END"] });
  });

  it("are left to the checkpoint when they are absent or undefined; only a seed is drawn", async () => {
    const input = { prompt: "?", temperature: undefined, stop: [], seed: undefined, unheardOf: undefined };
    const { options } = await prepare(input);
    expect(options).toEqual({ seed: 7 });
  });

  it.each([
    ["the caller's", 3],
    ["a drawn one", undefined],
  ])("tell the seed at once, %s, also of a request that fails while its pictures are read", async (_whose, seed) => {
    const told: number[] = [];
    const context = {
      allowHosts: new Set<string>(),
      newSeed: () => 7,
      onOptions: ({ seed: used }: { seed: number }) => told.push(used),
    };
    const call = prepareRequest({ prompt: "?", images: ["no/such.png"], seed }, context);
    expect(told).toEqual([seed ?? 7]);
    expect(await failure(call)).toMatchObject({ code: "FILE_NOT_FOUND" });
    expect(told).toHaveLength(1);
  });
});
