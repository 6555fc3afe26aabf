import { expect, test } from "vitest";
import type { RequestEvent } from "../../orchestrator/transport.ts";
import { GlimpseError } from "../../protocol/errors.ts";
import { Glimpse } from "../../sdk/client.ts";
import { done, MemoryTransport } from "./memory-transport.ts";

const png = Buffer.from("\x89PNG\r\n\x1a\n", "latin1");

function client(): { transport: MemoryTransport; glm: Glimpse } {
  const transport = new MemoryTransport();
  return { transport, glm: new Glimpse(transport, { allowHosts: new Set() }) };
}

const counted = (promptTokens: number): RequestEvent => ({
  type: "counted",
  promptTokens,
  imageTokens: 64,
  contextLength: 100,
  media: [{ kind: "image", tokens: 64 }],
});

test("a count resolves with what the worker counted, and whether it fits", async () => {
  const { transport, glm } = client();
  const count = glm.count({ prompt: "What is this?", images: [png], maxNewTokens: 5 });
  const { submission, emit } = await transport.request();
  expect(submission).toMatchObject({ count: true, media: [{ kind: "image", bytes: 8 }] });
  emit({ type: "queued", position: 0 });
  emit(counted(99));
  expect(await count).toEqual({
    promptTokens: 99,
    imageTokens: 64,
    contextLength: 100,
    fits: true,
    media: [{ kind: "image", tokens: 64 }],
  });
});

test("a prompt that leaves no room for an answer does not fit", async () => {
  const { transport, glm } = client();
  const count = glm.count({ prompt: "?" });
  (await transport.request()).emit(counted(100));
  expect(await count).toMatchObject({ promptTokens: 100, fits: false });
});

test("a prompt may be counted with the schema that its answer will have", async () => {
  const { transport, glm } = client();
  const input = { prompt: "?", output: { type: "object" } };
  const count = glm.count(input);
  (await transport.request()).emit(counted(3));
  expect(await count).toMatchObject({ promptTokens: 3 });
  await expect(glm.count({ ...input, output: { uniqueItems: true } })).rejects.toMatchObject({
    code: "SCHEMA_UNSUPPORTED",
  });
});

test("an error names the medium", async () => {
  const { transport, glm } = client();
  const count = glm.count({ prompt: "?", images: [png] });
  const error = new GlimpseError("IMAGE_UNREADABLE", "picture 1 is damaged", { hint: "Look at it." });
  (await transport.request()).emit({ type: "error", error, media: 0 });
  await expect(count).rejects.toMatchObject({
    code: "IMAGE_UNREADABLE",
    message: "images[0] (Buffer, 8 bytes): picture 1 is damaged",
    hint: "Look at it.",
    requestId: expect.any(String),
  });
});

test("wrong input and options are refused as they are by generate()", async () => {
  const { glm } = client();
  await expect(glm.count({ prompt: "" })).rejects.toMatchObject({ code: "INVALID_REQUEST" });
  await expect(glm.count({ prompt: "?", topK: 0 })).rejects.toMatchObject({ code: "INVALID_REQUEST" });
  await expect(glm.count(undefined as never)).rejects.toMatchObject({ code: "INVALID_REQUEST" });
});

test("a signal ends it at once, and the worker is told", async () => {
  const { transport, glm } = client();
  const controller = new AbortController();
  const count = glm.count({ prompt: "?", signal: controller.signal });
  const request = await transport.request();
  controller.abort(new Error("enough"));
  await expect(count).rejects.toMatchObject({ code: "ABORTED", cause: new Error("enough") });
  expect(request.cancelled).toBe(true);
  request.emit(done("cancelled"));
  await expect(glm.count({ prompt: "?", signal: controller.signal })).rejects.toMatchObject({ code: "ABORTED" });
});

test("a deadline ends it", async () => {
  const { glm } = client();
  await expect(glm.count({ prompt: "?", timeoutMs: 1 })).rejects.toMatchObject({ code: "TIMEOUT" });
});

test("an error shows the line that made the call", async () => {
  const error = await client()
    .glm.count({ prompt: "" })
    .catch((reason: unknown) => reason);
  const [first, ...others] = (error as Error).stack?.split("\n").slice(2) ?? [];
  expect(first).toContain("Glimpse.count");
  expect(others[0]).toContain("count.test.ts");
});

test("drain() waits for a count whose media are being read", async () => {
  const { transport, glm } = client();
  const count = glm.count({ prompt: "?", images: [new Blob([png])] });
  const drained = glm.drain().then(() => transport.requests.length);
  expect(await drained).toBe(1);
  (await transport.request()).emit(counted(1));
  await count;
});
