import { expect, test } from "vitest";
import { GlimpseError } from "../../protocol/errors.ts";
import type { Part } from "../../protocol/messages.ts";
import { Glimpse } from "../../sdk/client.ts";
import type { GenerateInput } from "../../sdk/request/input.ts";
import type { StreamEvent } from "../../sdk/result.ts";
import { done, MemoryTransport } from "./memory-transport.ts";

const markup = (text: string): Part => ({ kind: "markup", text });
const thinking = (text: string): Part => ({ kind: "thinking", text });
const text = (value: string): Part => ({ kind: "text", text: value });

function start(input: Partial<GenerateInput> = {}) {
  const transport = new MemoryTransport();
  const glm = new Glimpse(transport, { allowHosts: new Set() });
  const stream = glm.stream({ prompt: "what is this?", ...input } as GenerateInput);
  return { transport, stream };
}

async function collect(stream: AsyncIterable<StreamEvent>): Promise<StreamEvent[]> {
  const events: StreamEvent[] = [];
  for await (const event of stream) events.push(event);
  return events;
}

test("a stream gives its events in order and ends with the result", async () => {
  const { transport, stream } = start({ seed: 7 });
  const { emit } = await transport.request();
  emit({ type: "queued", position: 0 });
  emit({ type: "tokens", ids: [1], parts: [markup("<think>"), thinking("hm")] });
  emit({ type: "tokens", ids: [2, 3], parts: [markup("</think><answer>"), text("a cat")] });
  emit({ type: "tokens", ids: [], parts: [{ kind: "box", image: 0, box: [1, 2, 3, 4] }, markup("</answer>")] });
  emit(done("stop"));
  const events = await collect(stream);
  expect(events.map((event) => event.type)).toEqual(["queued", "thinking", "text", "box", "finish"]);
  const result = await stream.result;
  expect(result).toMatchObject({
    text: "a cat",
    thinking: "hm",
    raw: "<think>hm</think><answer>a cat</answer>",
    tokenIds: [1, 2, 3],
    boxes: [{ image: 0, box: [1, 2, 3, 4] }],
    finishReason: "stop",
    seed: 7,
    worker: { id: "worker-0", pid: 4242 },
  });
  expect(result.timing.tokensPerSecond).toBeCloseTo(20);
  expect(events.at(-1)).toEqual({ type: "finish", result });
});

test("the result needs no iteration", async () => {
  const { transport, stream } = start();
  const { emit } = await transport.request();
  emit({ type: "tokens", ids: [1], parts: [text("a")] });
  emit(done("length"));
  expect(await stream.result).toMatchObject({ text: "a", finishReason: "length" });
});

test("a reader that comes late finds the text whole, in one piece", async () => {
  const { transport, stream } = start();
  const { emit } = await transport.request();
  for (const letter of "slowly") emit({ type: "tokens", ids: [1], parts: [text(letter)] });
  emit(done("stop"));
  expect((await collect(stream))[0]).toEqual({ type: "text", text: "slowly" });
});

test("leaving the loop cancels the request and resolves the result with what there is", async () => {
  const { transport, stream } = start();
  const request = await transport.request();
  request.emit({ type: "tokens", ids: [1], parts: [text("one")] });
  for await (const event of stream) {
    expect(event).toEqual({ type: "text", text: "one" });
    break;
  }
  expect(request.cancelled).toBe(true);
  request.emit(done("cancelled"));
  expect(await stream.result).toMatchObject({ text: "one", finishReason: "cancelled" });
});

test("a cancel before the request was sent ends it at once", async () => {
  const { transport, stream } = start({ images: ["http://192.0.2.1/never.png"] } as never);
  stream.cancel();
  expect(await stream.result).toMatchObject({ text: "", finishReason: "cancelled", worker: undefined });
  expect(transport.requests).toEqual([]);
});

test("an abort throws ABORTED with the reason and what there was, in the loop and from the result", async () => {
  const controller = new AbortController();
  const { transport, stream } = start({ signal: controller.signal });
  const request = await transport.request();
  request.emit({ type: "tokens", ids: [1], parts: [text("half")] });
  controller.abort(new Error("enough"));
  const error = await stream.result.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  expect(error).toMatchObject({ code: "ABORTED", partial: { text: "half" }, cause: new Error("enough") });
  expect(request.cancelled).toBe(true);
  await expect(collect(stream)).rejects.toBe(error);
});

test("a signal that has fired already sends nothing", async () => {
  const { transport, stream } = start({ signal: AbortSignal.abort() });
  await expect(stream.result).rejects.toMatchObject({ code: "ABORTED" });
  expect(transport.requests).toEqual([]);
});

test("what was generated before an error is read before the loop throws it", async () => {
  const { transport, stream } = start();
  const { emit } = await transport.request();
  emit({ type: "tokens", ids: [1], parts: [text("half")] });
  emit({ type: "error", error: new GlimpseError("WORKER_LOST", "the worker was ended by SIGKILL") });
  const seen: StreamEvent[] = [];
  const failure = await (async () => {
    for await (const event of stream) seen.push(event);
  })().catch((error: unknown) => error);
  expect(seen).toEqual([{ type: "text", text: "half" }]);
  expect(failure).toMatchObject({ code: "WORKER_LOST", retryable: true, partial: { text: "half", tokenIds: [1] } });
});

test("a worker's complaint about a picture names the picture as the caller did", async () => {
  const pixel = Buffer.from(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==",
    "base64",
  );
  const { transport, stream } = start({ images: [pixel] } as never);
  const { emit } = await transport.request();
  emit({ type: "error", error: new GlimpseError("IMAGE_UNREADABLE", "the PNG ends too early"), media: 0 });
  await expect(stream.result).rejects.toThrow(/^images\[0\].*: the PNG ends too early$/);
});

test("nothing that comes after the ending changes it", async () => {
  const { transport, stream } = start();
  const { emit } = await transport.request();
  emit(done("stop"));
  emit({ type: "tokens", ids: [9], parts: [text("late")] });
  emit({ type: "error", error: new GlimpseError("WORKER_LOST", "late") });
  expect(await stream.result).toMatchObject({ text: "", finishReason: "stop" });
  expect((await collect(stream)).map((event) => event.type)).toEqual(["finish"]);
});

test("a second loop over the same stream is refused by name", async () => {
  const { transport, stream } = start();
  const { emit } = await transport.request();
  emit(done("stop"));
  await collect(stream);
  await expect(collect(stream)).rejects.toMatchObject({ code: "INVALID_REQUEST" });
});

test("a stream is no promise, so an async function may return it", async () => {
  const { transport, stream } = start();
  expect(await (async () => stream)()).toBe(stream);
  (await transport.request()).emit(done("stop"));
});

test("a wrong option is an error of the request, not a throw of stream()", async () => {
  const transport = new MemoryTransport();
  const glm = new Glimpse(transport, { allowHosts: new Set() });
  for (const input of [undefined, {}, { prompt: "" }, { prompt: "x", temperature: -1 }, { prompt: "x", signal: 1 }]) {
    await expect(glm.generate(input as never)).rejects.toMatchObject({ name: "GlimpseError", code: "INVALID_REQUEST" });
  }
  expect(transport.requests).toEqual([]);
});

test("two readers of one iterator both get something, or both hear of the end", async () => {
  const { transport, stream } = start();
  const { emit } = await transport.request();
  const iterator = stream[Symbol.asyncIterator]();
  const reads = [iterator.next(), iterator.next(), iterator.next(), iterator.next()];
  emit({ type: "tokens", ids: [1], parts: [text("a")] });
  emit({ type: "tokens", ids: [2], parts: [text("b")] });
  emit(done("stop"));
  const results = await Promise.all(reads);
  expect(results.map(({ value }) => value?.type)).toEqual(["text", "text", "finish", undefined]);
});

test("a request that fails while its pictures are read reports the seed that it was given", async () => {
  const { stream } = start({ seed: 7, images: ["/no/such/file.png"] } as never);
  await expect(stream.result).rejects.toMatchObject({ code: "FILE_NOT_FOUND", partial: { seed: 7 } });
});

test("many requests may share one signal without a warning of Node's", async () => {
  const warnings: Error[] = [];
  const onWarning = (warning: Error) => warnings.push(warning);
  process.on("warning", onWarning);
  const controller = new AbortController();
  const transport = new MemoryTransport();
  const glm = new Glimpse(transport, { allowHosts: new Set() });
  const streams = Array.from({ length: 30 }, () => glm.stream({ prompt: "x", signal: controller.signal }));
  await transport.request();
  controller.abort();
  const endings = await Promise.allSettled(streams.map((stream) => stream.result));
  // Node emits its warnings in a later tick.
  await new Promise((resolve) => setImmediate(resolve));
  process.off("warning", onWarning);
  expect(endings.every(({ status }) => status === "rejected")).toBe(true);
  expect(warnings).toEqual([]);
});

test("an error shows the line that made the call", async () => {
  const error = await start({ temperature: -1 }).stream.result.catch((reason: unknown) => reason);
  expect((error as Error).stack).toContain("stream.test.ts");
});

test("the text stream is the answer alone", async () => {
  const { transport, stream } = start();
  const { emit } = await transport.request();
  emit({ type: "tokens", ids: [1], parts: [markup("<think>"), thinking("hm"), markup("</think>")] });
  emit({ type: "tokens", ids: [2], parts: [text("a"), { kind: "box", image: 0, box: [1, 2, 3, 4] }, text("b")] });
  emit(done("stop"));
  const texts: string[] = [];
  for await (const piece of stream.textStream) texts.push(piece);
  expect(texts).toEqual(["a", "b"]);
});

test("leaving the text stream cancels the request, even while it waits for a text", async () => {
  const { transport, stream } = start();
  const request = await transport.request();
  const texts = stream.textStream[Symbol.asyncIterator]();
  const next = texts.next();
  await texts.return?.();
  expect(request.cancelled).toBe(true);
  request.emit(done("cancelled"));
  expect(await next).toEqual({ done: true, value: undefined });
});

test("the text stream throws what the stream throws", async () => {
  const { transport, stream } = start();
  const { emit } = await transport.request();
  emit({ type: "tokens", ids: [1], parts: [text("half")] });
  emit({ type: "error", error: new GlimpseError("WORKER_LOST", "gone") });
  const texts = stream.textStream[Symbol.asyncIterator]();
  expect(await texts.next()).toEqual({ done: false, value: "half" });
  await expect(texts.next()).rejects.toMatchObject({ code: "WORKER_LOST", partial: { text: "half" } });
});

test("a stream that goes out of scope is cancelled; one that has ended, well or not, is left alone", async () => {
  const { transport, stream } = start();
  const request = await transport.request();
  {
    await using scoped = stream;
    expect(scoped.result).toBeInstanceOf(Promise);
    // The worker answers a cancel by the ending.
    setImmediate(() => request.emit(done("cancelled")));
  }
  expect(request.cancelled).toBe(true);
  expect(await stream.result).toMatchObject({ finishReason: "cancelled" });

  const failed = start();
  (await failed.transport.request()).emit({ type: "error", error: new GlimpseError("WORKER_LOST", "gone") });
  await failed.stream[Symbol.asyncDispose]();
  expect(failed.transport.requests[0]?.cancelled).toBe(false);
});
