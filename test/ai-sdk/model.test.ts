// The model by itself, on a real worker process with the scripted engine: what it does when things go wrong.
import { APICallError, type LanguageModelV3Prompt, type LanguageModelV3StreamPart } from "@ai-sdk/provider";
import { generateText, streamText } from "ai";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { RequestEvent, Transport } from "../../orchestrator/transport.ts";
import { GlimpseError } from "../../protocol/errors.ts";
import { createGlimpse } from "../../sdk/ai-sdk/index.ts";
import { Glimpse } from "../../sdk/client.ts";
import { startScripted } from "../orchestrator/scripted.ts";
import { AnsweringTransport, fail, say } from "../sdk/answering-transport.ts";
import { done } from "../sdk/memory-transport.ts";

let transport: Transport;
let glm: Glimpse;
beforeAll(async () => {
  transport = await startScripted("normal", { onWorkerLoss: "fail", limits: { backoffMs: 1 } });
  glm = new Glimpse(transport, { allowHosts: new Set() });
});
afterAll(() => glm.close());

const model = () => createGlimpse(glm)();
const prompted = (text: string): LanguageModelV3Prompt => [{ role: "user", content: [{ type: "text", text }] }];
const letters = "abcdefghijklmnopqrstuvwxyz";

async function partsOf(stream: ReadableStream<LanguageModelV3StreamPart>): Promise<LanguageModelV3StreamPart[]> {
  const parts: LanguageModelV3StreamPart[] = [];
  for await (const part of stream) parts.push(part);
  return parts;
}

/** A client that answers every request with these events. */
function answering(...events: RequestEvent[]) {
  const transport = new AnsweringTransport((_, emit) => {
    for (const event of events) emit(event);
  });
  return { model: createGlimpse(new Glimpse(transport, { allowHosts: new Set() }))(), transport };
}

const queued: RequestEvent = { type: "queued", position: 2 };

/** Its place is free: 2000 tokens of 20 ms would hold it for 40 s. */
async function expectFree(): Promise<void> {
  expect((await glm.generate({ prompt: "say free" })).text).toBe("free");
  expect(glm.workers()[0]?.load.requests).toBe(0);
}

describe("the worker is free again", () => {
  test("when the stream is cancelled, although nobody reads it", async () => {
    const { stream } = await model().doStream({ prompt: prompted("slow 2000") });
    const reader = stream.getReader();
    await reader.read();
    await reader.cancel();
    await expectFree();
  });

  test("when it is cancelled while somebody waits for the next part", async () => {
    const { stream } = await model().doStream({ prompt: prompted("slow 2000") });
    const reader = stream.getReader();
    const reading = (async () => {
      while (!(await reader.read()).done);
    })();
    await reader.cancel();
    await reading;
    await expectFree();
  });

  test("when the signal fires, which ends the stream with its reason", async () => {
    const controller = new AbortController();
    const { stream } = await model().doStream({ prompt: prompted("slow 2000"), abortSignal: controller.signal });
    const reason = new Error("enough");
    controller.abort(reason);
    await expect(partsOf(stream)).rejects.toBe(reason);
    await expectFree();
  });

  test("when the signal fires before the first token", async () => {
    const aborted = AbortSignal.abort();
    await expect(model().doStream({ prompt: prompted("slow 2000"), abortSignal: aborted })).rejects.toBe(
      aborted.reason,
    );
    await expect(model().doGenerate({ prompt: prompted("say hi"), abortSignal: aborted })).rejects.toBe(aborted.reason);
    await expectFree();
  });
});

describe("a failure", () => {
  test("in mid-stream is a part with its code, after what was generated; then the stream finishes", async () => {
    const { stream } = await model().doStream({ prompt: prompted("oom 20") });
    const parts = await partsOf(stream);
    const text = parts.map((part) => (part.type === "text-delta" ? part.delta : "")).join("");
    expect(text).toBe(letters.slice(0, 20));
    expect(parts.slice(-3)).toMatchObject([
      { type: "text-end" },
      { type: "error", error: { code: "GPU_OUT_OF_MEMORY" } },
      { type: "finish", finishReason: { unified: "error" } },
    ]);
  });

  test("in mid-stream reaches the caller of streamText", async () => {
    const told: unknown[] = [];
    const onError = ({ error }: { error: unknown }) => void told.push(error);
    const result = streamText({ model: model(), prompt: "oom 20", onError });
    await result.consumeStream();
    expect(told).toMatchObject([{ code: "GPU_OUT_OF_MEMORY" }]);
    expect(await result.finishReason).toBe("error");
  });

  test("that another try may mend is an APICallError, and why is its cause", async () => {
    const options = { prompt: prompted("crash 20") };
    const early = answering(queued, fail("WORKER_LOST")).model;
    for (const call of [
      () => model().doGenerate(options),
      () => early.doGenerate(options),
      () => early.doStream(options),
    ]) {
      const error: unknown = await call().then(
        () => "no error",
        (error: unknown) => error,
      );
      expect(error).toMatchObject({ isRetryable: true, cause: { code: "WORKER_LOST" } });
      expect(APICallError.isInstance(error)).toBe(true);
    }
  });

  test("of a full queue says when to try again", async () => {
    const work = answering(fail("QUEUE_FULL")).model.doGenerate({ prompt: prompted("?") });
    await expect(work).rejects.toMatchObject({ responseHeaders: { "retry-after-ms": "1" } });
  });

  test("that another try does not mend is not repeated", async () => {
    const work = generateText({ model: model(), prompt: "no such script" });
    await expect(work).rejects.toMatchObject({ name: "GlimpseError", code: "INVALID_REQUEST" });
  });
});

test("a reader that stops reading gets what it left unread in few parts, and holds up nobody", async () => {
  const { stream } = await model().doStream({ prompt: prompted("normal 500") });
  const reader = stream.getReader();
  await reader.read();
  // Longer, and begun later, so the other has ended.
  await glm.generate({ prompt: "normal 600" });
  reader.releaseLock();
  const parts = await partsOf(stream);
  const deltas = parts.flatMap((part) => (part.type === "text-delta" ? [part.delta] : []));
  expect(deltas.join("")).toHaveLength(500);
  expect(deltas.length).toBeLessThan(100);
});

describe("parts", () => {
  const warning: RequestEvent = { type: "warning", code: "MAX_NEW_TOKENS_CUT", message: "fewer tokens" };

  test("a warning that comes before the first token is one of the call", async () => {
    const { stream } = await answering(queued, warning, say("hi"), done("stop")).model.doStream({
      prompt: prompted("?"),
    });
    const [start] = await partsOf(stream);
    expect(start).toEqual({
      type: "stream-start",
      warnings: [{ type: "other", message: "MAX_NEW_TOKENS_CUT: fewer tokens" }],
    });
  });

  test("with includeRawChunks every event of Glimpse is there too", async () => {
    const { model } = answering(queued, say("hi"), done("stop"));
    const { stream } = await model.doStream({ prompt: prompted("?"), includeRawChunks: true });
    const raw = (await partsOf(stream)).flatMap((part) => (part.type === "raw" ? [part.rawValue] : []));
    expect(raw).toMatchObject([queued, { type: "text", text: "hi" }, { type: "finish" }]);
  });

  test("an answer without a text is an empty one", async () => {
    const { content } = await answering(done("stop")).model.doGenerate({ prompt: prompted("?") });
    expect(content).toEqual([]);
  });
});

describe("a prompt", () => {
  const refusal = (prompt: LanguageModelV3Prompt) =>
    model()
      .doGenerate({ prompt })
      .then(
        () => "answered",
        (error: Error) => error.message,
      );

  test("is sent without the thinking of earlier turns, which the model's authors drop", async () => {
    const { model, transport } = answering(say("hi"), done("stop"));
    await model.doGenerate({
      prompt: [
        { role: "system", content: "Be brief." },
        ...prompted("One?"),
        {
          role: "assistant",
          content: [
            { type: "reasoning", text: "Hm." },
            { type: "text", text: "Two." },
          ],
        },
        ...prompted("Why?"),
      ],
    });
    const sent = transport.requests[0]?.submission.messages.map(({ role, content }) => [role, ...content]);
    const text = (text: string) => ({ type: "text", text });
    expect(sent).toEqual([
      ["system", text("Be brief.")],
      ["user", text("One?")],
      ["assistant", text("Two.")],
      ["user", text("Why?")],
    ]);
  });

  test("with a file URL is refused: it may come from a browser", async () => {
    const data = new URL("file:///etc/hostname");
    const message = await refusal([{ role: "user", content: [{ type: "file", mediaType: "image/png", data }] }]);
    expect(message).toContain("prompt[0].content[0].data: expected bytes, base64, or an http(s) URL");
    expect(message).not.toContain("hostname");
  });

  test("with tool results is refused", async () => {
    const output = { type: "text", value: "12:00" } as const;
    const result = { type: "tool-result", toolCallId: "1", toolName: "clock", output } as const;
    expect(await refusal([...prompted("?"), { role: "tool", content: [result] }])).toContain(
      "prompt[1]: GLM-4.1V does",
    );
    const call = { type: "tool-call", toolCallId: "1", toolName: "clock", input: {} } as const;
    const calling: LanguageModelV3Prompt = [...prompted("?"), { role: "assistant", content: [call] }];
    expect(await refusal(calling)).toContain('prompt[1].content[0]: GLM-4.1V does not take parts of type "tool-call"');
  });

  test("with options of ours where there are none is refused", async () => {
    const providerOptions = { glimpse: { maxPixels: 1 } };
    const text = { type: "text", text: "?", providerOptions } as const;
    expect(await refusal([{ role: "user", content: [text] }])).toContain(
      "prompt[0].content[0].providerOptions.glimpse",
    );
    expect(await refusal([{ role: "user", content: [], providerOptions }])).toContain(
      "prompt[0].providerOptions.glimpse",
    );
  });
});

test("the shares of reasoning are shares of the answer's tokens, and an own option comes before them", async () => {
  const { model, transport } = answering(say("hi"), done("stop"));
  const call = (options: object) => model.doGenerate({ prompt: prompted("?"), ...options });
  await call({ reasoning: "low", maxOutputTokens: 1000 });
  await call({ reasoning: "high" });
  await call({ reasoning: "provider-default" });
  await call({ reasoning: "high", providerOptions: { glimpse: { maxThinkingTokens: 7 } } });
  await call({ reasoning: "high", providerOptions: { glimpse: { preset: "benchmark" } } });
  await expect(call({ reasoning: "high", providerOptions: { glimpse: { preset: "x" } } })).rejects.toThrow("preset");
  const { warnings } = await call({ reasoning: "endless" });
  const budgets = transport.requests.map(({ submission }) => submission.options.maxThinkingTokens);
  expect(budgets).toEqual([100, 4915, undefined, 7, 9830, undefined]);
  expect(warnings).toEqual([{ type: "unsupported", feature: "reasoning", details: 'There is no level "endless".' }]);
});

test("errors that are no GlimpseErrors stay what they are", async () => {
  const odd = new RangeError("odd");
  const broken = createGlimpse({
    workers: () => [],
    generate: () => Promise.reject(odd),
    stream: glm.stream.bind(glm),
  });
  await expect(broken().doGenerate({ prompt: prompted("?") })).rejects.toBe(odd);
  expect(GlimpseError.is(odd)).toBe(false);
});
