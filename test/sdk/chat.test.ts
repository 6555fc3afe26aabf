import { describe, expect, test } from "vitest";
import { z } from "zod";
import type { RequestEvent, Submission } from "../../orchestrator/transport.ts";
import type { ChatOptions } from "../../sdk/chat/chat.ts";
import { image, pdf, video } from "../../sdk/index.ts";
import { client, echo, fail, type Respond, say } from "./answering-transport.ts";
import { done } from "./memory-transport.ts";

/** What the last request said, a line for each message. */
function sent(submission: Submission | undefined): string[] {
  const text = (content: Submission["messages"][number]["content"]) =>
    content.map((one) => (one.type === "text" ? one.text : `<${one.index}>`)).join("");
  return submission?.messages.map(({ role, content }) => `${role}: ${text(content)}`) ?? [];
}

function start(options?: ChatOptions, respond?: Respond) {
  const { glm, transport } = client(respond);
  const last = () => transport.requests.at(-1)?.submission;
  return { glm, chat: glm.chat(options), transport, last };
}

const pixel = Buffer.from(
  "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==",
  "base64",
);

test("each turn is asked with all that was said, and answers come without their thinking", async () => {
  const { chat, last } = start({ system: "Be brief." }, (text, emit) => {
    emit({ type: "tokens", ids: [1], parts: [{ kind: "thinking", text: "hm" }] });
    echo(text, emit);
  });
  await chat.send("a", { images: [pixel] }).result;
  await chat.send([{ type: "text", text: "b" }]).result;
  expect(sent(last())).toEqual(["system: Be brief.", "user: <0>a", "assistant: A", "user: b"]);
  expect(chat.messages.map(({ role }) => role)).toEqual(["system", "user", "assistant", "user", "assistant"]);
});

test("the options of the chat hold for every turn, those of a turn for that one", async () => {
  const { chat, last } = start({ temperature: 0.5, seed: 1 });
  await chat.send("a", { temperature: 0, topK: undefined, seed: undefined }).result;
  expect(last()?.options).toEqual({ temperature: 0, seed: 1 });
  await chat.send("b").result;
  expect(last()?.options).toEqual({ temperature: 0.5, seed: 1 });
});

test("a turn that fails, is aborted or cancelled, or has no answer leaves the history as it was", async () => {
  const { chat } = start(undefined, (text, emit) => {
    if (text === "broken") return emit(fail("GENERATION_FAILED"));
    if (text === "half") return emit(say("ha"));
    if (text === "lost") return emit(done("length"));
    echo(text, emit);
  });
  await chat.send("one").result;
  const before = chat.messages;
  await expect(chat.send("broken").result).rejects.toMatchObject({ code: "GENERATION_FAILED" });
  await expect(chat.send("x", { temperature: -1 }).result).rejects.toMatchObject({ code: "INVALID_REQUEST" });
  await expect(chat.send("x", { signal: AbortSignal.abort() }).result).rejects.toMatchObject({ code: "ABORTED" });
  const controller = new AbortController();
  const half = chat.send("half", { signal: controller.signal });
  await half[Symbol.asyncIterator]().next();
  controller.abort();
  await expect(half.result).rejects.toMatchObject({ code: "ABORTED", partial: { text: "ha" } });
  expect((await chat.send("lost").result).text).toBe("");
  expect(chat.messages).toBe(before);
  await chat.send("two").result;
  expect(chat.messages.map(({ content }) => content).filter((content) => typeof content === "string")).toEqual([
    "ONE",
    "TWO",
  ]);
});

test("a cancelled turn is not remembered", async () => {
  const { chat, transport } = start(undefined, (_, emit) => emit(say("half")));
  const stream = chat.send("a");
  for await (const _ of stream.textStream) break;
  transport.requests[0]?.emit(done("cancelled"));
  expect(await stream.result).toMatchObject({ finishReason: "cancelled", text: "half" });
  expect(chat.messages).toEqual([]);
});

test("a second turn while one is under way is refused; after its finish event it is not", async () => {
  const { chat } = start();
  const first = chat.send("a");
  expect(() => chat.send("b")).toThrow("expected one turn at a time");
  for await (const event of first) if (event.type === "finish") await chat.send("c").result;
  expect(chat.messages).toHaveLength(4);
});

describe("a turn with a schema", () => {
  const even = z.object({ n: z.int().refine((n) => n % 2 === 0, "it is odd") });
  const answer = (json: string, emit: (event: RequestEvent) => void) => {
    emit(say(json));
    emit(done("stop"));
  };

  test("has its output, and is in the history as JSON", async () => {
    const { chat, last } = start(undefined, (text, emit) => answer(text, emit));
    const { output } = await chat.send('{"n":2}', { output: even }).result;
    expect(output).toEqual({ n: 2 });
    expect(last()?.options).toHaveProperty("schema");
    await chat.send("and then?").result;
    expect(sent(last())).toEqual(['user: {"n":2}', 'assistant: {"n":2}', "user: and then?"]);
    expect(last()?.options).not.toHaveProperty("schema");
  });

  test("that the schema refuses leaves the history as it was; the next may follow at once, in a loop too", async () => {
    const { chat } = start(undefined, (text, emit) => answer(text, emit));
    await expect(chat.send('{"n":1}', { output: even }).result).rejects.toMatchObject({ code: "OUTPUT_INVALID" });
    const read = async (json: string) => {
      for await (const event of chat.send(json, { output: even })) if (event.type === "finish") return chat.send("x");
      return undefined;
    };
    await expect(read('{"n":3}')).rejects.toMatchObject({ code: "OUTPUT_INVALID" });
    expect(chat.messages).toEqual([]);
    await (await read('{"n":4}'))?.result;
    expect(chat.messages).toHaveLength(4);
  });

  test("that fails lets the next one follow at once", async () => {
    const { chat } = start(undefined, (text, emit) =>
      text === "x" ? emit(fail("GENERATION_FAILED")) : answer(text, emit),
    );
    const events = chat.send("x", { output: even })[Symbol.asyncIterator]();
    await expect(events.next()).rejects.toMatchObject({ code: "GENERATION_FAILED" });
    await chat.send('{"n":2}', { output: even }).result;
    expect(chat.messages).toHaveLength(2);
  });

  test("is asked for in send(), not for every turn", async () => {
    const { glm } = start();
    expect(() => glm.chat({ output: even } as never)).toThrow("chat(): output: expected it in send() only");
    const stopping = glm.chat({ stop: "x" }).send("a", { output: even });
    await expect(stopping.result).rejects.toThrow("stop: expected nothing beside output");
  });
});

test("a fork has the past and a future of its own", async () => {
  const { chat, last } = start();
  await chat.send("a").result;
  const fork = chat.fork();
  await Promise.all([chat.send("b").result, fork.send("c").result]);
  expect(sent(last())).toEqual(["user: a", "assistant: A", "user: c"]);
  expect(chat.messages.at(-2)).toEqual({ role: "user", content: [{ type: "text", text: "b" }] });
});

test("a chat goes on from its JSON, pictures and all", async () => {
  const { chat, glm, last, transport } = start({ system: "s", temperature: 0 });
  await chat.send("a", { images: [pixel] }).result;
  const content = [{ type: "image", path: import.meta.filename }] as const;
  await expect(chat.send([...content, { type: "text", text: "?" }]).result).rejects.toMatchObject({
    code: "IMAGE_UNREADABLE",
  });
  const restored = glm.chat(JSON.parse(JSON.stringify(chat)));
  await restored.send("b").result;
  expect(sent(last())).toEqual(["system: s", "user: <0>a", "assistant: A", "user: b"]);
  expect(last()?.options.temperature).toBe(0);
  expect(Buffer.from(transport.requests.at(-1)?.submission.frames[0] ?? [])).toEqual(pixel);
  const named = glm.chat().send("c", { pdf: pdf("/no/such.pdf", { pages: "2-3", dpi: 100, maxPixels: 10_000 }) });
  await expect(named.result).rejects.toMatchObject({ code: "FILE_NOT_FOUND" });
  const messages: ChatOptions["messages"] = [
    { role: "user", content: [{ type: "pdf", pdf: pdf("/no/such.pdf", { pages: "2-3", maxPixels: 10_000 }) }] },
    { role: "user", content: [{ type: "video", video: video({ frames: [pixel, pixel], fps: 2 }) }] },
    { role: "user", content: [{ type: "video", video: video("/no/such.mp4", { fps: 1, maxFrames: 9 }) }] },
    { role: "user", content: [{ type: "image", image: image(pixel, { maxPixels: 100, onTooLarge: "refuse" }) }] },
  ];
  const media = glm.chat({ messages });
  expect(glm.chat(JSON.parse(JSON.stringify(media))).toJSON()).toEqual(JSON.parse(JSON.stringify(media)));
  expect(JSON.stringify(media)).toContain('"pages":[2,3]');
  const blob = glm.chat({ messages: [{ role: "user", content: [{ type: "image", image: new Blob([pixel]) }] }] });
  expect(() => JSON.stringify(blob)).toThrow("expected what JSON can hold, got a Blob");
});

test("what no chat has saved is refused by name", () => {
  const { glm } = start();
  const restore = (content: unknown) => () => glm.chat({ messages: [{ role: "user", content: [content] }] as never });
  expect(restore({ type: "image", saved: null })).toThrow(
    "chat(): messages: saved: expected { path }, { url } or { base64 }, as chat.toJSON() gives it, got null",
  );
  expect(restore({ type: "video", frames: 3 })).toThrow("chat(): messages: frames: expected an array of sources");
  expect(restore({ type: "video", frames: [3], fps: 1 })).toThrow("chat(): messages: saved: expected { path }");
});

test("what the caller changes later changes nothing in the history", async () => {
  const { chat, transport } = start();
  const bytes = Buffer.from(pixel);
  const content = [
    { type: "image" as const, image: bytes },
    { type: "text" as const, text: "a" },
  ];
  const stream = chat.send(content);
  bytes.fill(0);
  content.pop();
  await stream.result;
  await chat.send("b").result;
  expect(Buffer.from(transport.requests.at(-1)?.submission.frames[0] ?? [])).toEqual(pixel);
  expect(() => (chat.messages as unknown[]).push(1)).toThrow(TypeError);
  const [turn] = chat.messages;
  expect(() => Object.assign((turn?.content ?? []).at(-1) as object, { text: "b" })).toThrow(TypeError);
});

test("what is no turn is refused by name", async () => {
  const { chat, glm } = start();
  expect(() => chat.send(5 as never)).toThrow("chat.send(): prompt: expected a text or an array, got 5");
  expect(() => chat.send(" ")).toThrow("chat.send(): prompt: expected a text that is not empty");
  expect(() => chat.send([{ type: "text", text: 5 as never }])).toThrow("chat.send(): prompt[0].text: expected a text");
  expect(() => chat.send("a", { images: [pixel, 5 as never] })).toThrow("images[1]: expected a path");
  expect(() => chat.send("a", { video: 5 as never })).toThrow("video: expected");
  expect(() => chat.send("a", { images: "a.png" as never })).toThrow("images: expected an array of pictures");
  expect(() => chat.send("a", null as never)).toThrow("chat.send(): expected an object of options, got null");
  expect(() => chat.send("a", { messages: [] } as never)).toThrow("chat.send(): messages: expected none");
  expect(() => glm.chat({ messages: "x" as never })).toThrow("chat(): messages: expected an array");
  expect(() => glm.chat({ system: "" })).toThrow("chat(): system: expected a text that is not empty");
  const goOn = (message: unknown) => () => glm.chat({ system: "Be brief.", messages: [message] as never });
  expect(goOn(null)).toThrow("chat(): messages[0]: expected { role, content }, got null");
  expect(goOn({ role: "user", content: [5] })).toThrow("chat(): messages[0].content[0]: expected { type:");
  expect(goOn({ role: "user", content: "b", name: "Ann" })).toThrow("chat(): messages[0]: expected only role, content");
  expect(() => glm.chat({ maxTokens: 5 } as never)).toThrow(
    /^chat\(\): expected only system, messages, .*got "maxTokens"$/,
  );
  expect(() => glm.chat({ signal: new AbortController().signal } as never)).toThrow('got "signal"');
  expect(() => glm.chat({ temperature: -1 })).toThrow("temperature: expected a number from 0 to 100, got -1");
  expect((await chat.send("a").result).text).toBe("A");
});
