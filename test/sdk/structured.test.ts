import { describe, expect, test } from "vitest";
import { z } from "zod";
import { GlimpseError } from "../../protocol/errors.ts";
import type { Part } from "../../protocol/messages.ts";
import { Glimpse } from "../../sdk/client.ts";
import { pdf } from "../../sdk/media/pdf.ts";
import type { OutputSchema } from "../../sdk/output/schema.ts";
import { done, MemoryTransport } from "./memory-transport.ts";

const text = (value: string): Part => ({ kind: "text", text: value });
const receipt = z.object({ shop: z.string(), total: z.number() });
const answer = '{"shop": "Harbour", "total": 10.50}';

function start<Schema extends OutputSchema>(output: Schema) {
  const transport = new MemoryTransport();
  const glm = new Glimpse(transport, { allowHosts: new Set() });
  return { transport, stream: glm.stream({ prompt: "Read the receipt.", output }) };
}

async function answered<Schema extends OutputSchema>(output: Schema, pieces: string[], reason: "stop" | "length") {
  const { transport, stream } = start(output);
  const { emit } = await transport.request();
  for (const piece of pieces) emit({ type: "tokens", ids: [1], parts: [text(piece)] });
  emit(done(reason));
  return stream;
}

async function failure(result: Promise<unknown>): Promise<GlimpseError> {
  return result.then(
    () => expect.fail("it succeeded"),
    (error: unknown) => {
      if (!GlimpseError.is(error)) throw error;
      return error;
    },
  );
}

test("the result has what the schema makes of the answer", async () => {
  const doubled = receipt.transform(({ shop, total }) => ({ shop, twice: 2 * total }));
  const stream = await answered(doubled, [answer], "stop");
  expect(await stream.result).toMatchObject({ text: answer, output: { shop: "Harbour", twice: 21 } });
});

test("a JSON Schema and any Standard Schema do as well", async () => {
  const plain = await answered({ type: "object" }, [answer], "stop");
  expect((await plain.result).output).toEqual({ shop: "Harbour", total: 10.5 });
  const own = {
    "~standard": {
      version: 1,
      vendor: "own",
      validate: async (value: unknown) => ({ value: { seen: value } }),
      jsonSchema: { input: () => ({ type: "object" }) },
    },
  } as const;
  expect((await (await answered(own, [answer], "stop")).result).output).toEqual({
    seen: { shop: "Harbour", total: 10.5 },
  });
});

test("partial objects stream beside their text and grow, and the end has the output", async () => {
  const stream = await answered(receipt, [answer], "stop");
  const events: unknown[] = [];
  for await (const event of stream) events.push(event.type === "output" ? event.partial : event.type);
  expect(events).toEqual(["text", { shop: "Harbour", total: 10.5 }, "finish"]);

  const { transport, stream: slow } = start(receipt);
  const { emit } = await transport.request();
  const partials: unknown[] = [];
  const pieces = ['{"shop": "H', 'arbour", "total"', ": 10.5", "0}"];
  emit({ type: "tokens", ids: [1], parts: [text(pieces.shift() ?? "")] });
  for await (const event of slow) {
    if (event.type === "output") partials.push(event.partial);
    if (event.type === "text") {
      const piece = pieces.shift();
      emit(piece === undefined ? done("stop") : { type: "tokens", ids: [1], parts: [text(piece)] });
    }
    if (event.type === "finish") expect(event.result.output).toEqual({ shop: "Harbour", total: 10.5 });
  }
  expect(partials).toEqual([{ shop: "H" }, { shop: "Harbour" }, { shop: "Harbour", total: 10.5 }]);
});

describe("OUTPUT_INVALID", () => {
  test.each([
    ['{"shop": "Harb', "before the JSON was complete"],
    ["", "before the answer began"],
  ])("says that the tokens were used up: %j", async (piece, where) => {
    const stream = await answered(receipt, [piece], "length");
    const error = await failure(stream.result);
    expect(error).toMatchObject({
      code: "OUTPUT_INVALID",
      message: expect.stringContaining(where),
      hint: expect.stringContaining("maxNewTokens"),
      issues: [{ message: "the JSON is not complete", path: [] }],
      partial: { text: piece },
    });
    expect(error.stack).toContain("structured.test.ts");
    await expect(async () => {
      for await (const _ of stream);
    }).rejects.toBe(error);
  });

  test("is not for JSON that the limit left whole, but is for a number that may have gone on", async () => {
    expect(await (await answered(receipt, [answer], "length")).result).toMatchObject({ finishReason: "length" });
    expect(await failure((await answered(z.number(), ["12"], "length")).result)).toMatchObject({
      code: "OUTPUT_INVALID",
    });
    expect((await (await answered(z.number(), ["12"], "stop")).result).output).toBe(12);
  });

  test("says which check of the schema failed, which a grammar cannot express", async () => {
    const even = z.object({ items: z.array(z.object({ count: z.int().refine((n) => n % 2 === 0, "it is odd") })) });
    const error = await failure((await answered(even, ['{"items":[{"count":2},{"count":3}]}'], "stop")).result);
    expect(error).toMatchObject({
      code: "OUTPUT_INVALID",
      message: "output: the answer has the schema's form, but at items.1.count: it is odd",
      issues: [{ message: "it is odd", path: ["items", 1, "count"] }],
      partial: { text: '{"items":[{"count":2},{"count":3}]}', tokenIds: [1] },
    });
    expect(error.requestId).toBeTypeOf("string");
  });

  test("names a number that JSON can write and JavaScript cannot hold, whatever the schema would say of it", async () => {
    const json = '{"shop":"Harbour","items":[{"price":2},{"price":-1e400}]}';
    for (const schema of [{ type: "object" }, z.looseObject({})]) {
      const stream = await answered(schema, [json], "stop");
      const partials: unknown[] = [];
      const read = async () => {
        for await (const event of stream) if (event.type === "output") partials.push(event.partial);
      };
      const error = await failure(read());
      expect(error).toMatchObject({
        code: "OUTPUT_INVALID",
        message: expect.stringContaining("at items.1.price: the number is larger than JavaScript can hold"),
        hint: expect.stringContaining("maximum"),
        issues: [{ path: ["items", 1, "price"] }],
        partial: { text: json },
      });
      // The text came in one piece: of it there is what stands before the number.
      expect(JSON.stringify(partials)).not.toContain("null");
    }
    expect((await (await answered({}, ["[1e308,1e-400]"], "stop")).result).output).toEqual([1e308, 0]);
    const deep = `${"[".repeat(20_000)}1e999${"]".repeat(20_000)}`;
    expect((await failure((await answered({}, [deep], "stop")).result)).issues?.[0]?.path).toHaveLength(20_000);
  });

  test("names a check that throws, with its error as the cause", async () => {
    const broken = new Error("no such column");
    const schema = z.string().refine(() => {
      throw broken;
    });
    expect(await failure((await answered(schema, ['"a"'], "stop")).result)).toMatchObject({
      code: "OUTPUT_INVALID",
      message: expect.stringContaining("no such column"),
      cause: broken,
    });
  });
});

test("the text stream is the JSON alone, throws what the schema says, and is left at once", async () => {
  const texts: string[] = [];
  for await (const piece of (await answered(receipt, [answer], "stop")).textStream) texts.push(piece);
  expect(texts.join("")).toBe(answer);
  const refused = await answered(
    receipt.refine(() => false, "no"),
    [answer],
    "stop",
  );
  await expect(async () => {
    for await (const _ of refused.textStream);
  }).rejects.toMatchObject({ code: "OUTPUT_INVALID" });

  const { transport, stream } = start(receipt);
  const request = await transport.request();
  const waiting = stream.textStream[Symbol.asyncIterator]();
  const next = waiting.next();
  const left = waiting.return?.();
  expect(request.cancelled).toBe(true);
  request.emit(done("cancelled"));
  expect(await next).toEqual({ done: true, value: undefined });
  await left;
});

test("leaving the loop cancels the request, and the result says so", async () => {
  const { transport, stream } = start(receipt);
  const request = await transport.request();
  request.emit({ type: "tokens", ids: [1], parts: [text('{"shop": "H')] });
  for await (const event of stream) if (event.type === "output") break;
  expect(request.cancelled).toBe(true);
  request.emit(done("cancelled"));
  expect(await stream.result).toMatchObject({ finishReason: "cancelled", output: undefined, text: '{"shop": "H' });
});

test("a stream that goes out of scope is cancelled", async () => {
  const { transport, stream } = start(receipt);
  const request = await transport.request();
  const disposed = stream[Symbol.asyncDispose]();
  expect(request.cancelled).toBe(true);
  request.emit(done("cancelled"));
  await disposed;
  expect(await stream.result).toMatchObject({ finishReason: "cancelled", output: undefined });
});

test("an iterator that is ended while it waits cancels at once", async () => {
  const { transport, stream } = start(receipt);
  const request = await transport.request();
  const events = stream[Symbol.asyncIterator]();
  const waiting = events.next();
  const ended = events.return?.();
  expect(request.cancelled).toBe(true);
  request.emit(done("cancelled"));
  expect(await waiting).toMatchObject({ value: { type: "finish", result: { output: undefined } } });
  expect(await ended).toEqual({ done: true, value: undefined });
});

test("what cannot be enforced is refused before it is queued: nothing is asked of a worker", async () => {
  const { transport, stream } = start({ type: "array", uniqueItems: true });
  expect(await failure(stream.result)).toMatchObject({
    code: "SCHEMA_UNSUPPORTED",
    message: expect.stringContaining("uniqueItems"),
  });
  expect(transport.requests).toEqual([]);
});

test("a failure of the worker is that of the result and of the loop", async () => {
  const { transport, stream } = start(receipt);
  const { emit } = await transport.request();
  emit({ type: "error", error: new GlimpseError("SCHEMA_UNSUPPORTED", "oneOf") });
  const error = await failure(stream.result);
  expect(error.code).toBe("SCHEMA_UNSUPPORTED");
  await expect(stream[Symbol.asyncIterator]().next()).rejects.toBe(error);
});

test("a ready task refuses a schema by name, as a rejection", async () => {
  const glm = new Glimpse(new MemoryTransport(), { allowHosts: new Set() });
  const options = { output: receipt } as object;
  const refused = {
    code: "INVALID_REQUEST",
    message: "output: expected none in a ready task, which asks for text, got a ZodObject",
    hint: expect.stringContaining("generate()"),
  };
  await expect(glm.caption("a.png", options)).rejects.toMatchObject(refused);
  await expect(glm.describe("a.png", options)).rejects.toMatchObject(refused);
  await expect(glm.locate("a.png", "a cup", options)).rejects.toMatchObject(refused);
  await expect(glm.ocr("a.png", options)).rejects.toMatchObject(refused);
});

test("a ready task refuses by name what it does not know", async () => {
  const glm = new Glimpse(new MemoryTransport(), { allowHosts: new Set() });
  const format = { format: "toString" } as object;
  await expect(glm.ocr("a.png", format)).rejects.toThrow('format: expected "text" or "markdown", got "toString"');
  await expect(glm.locate("a.png", undefined as never)).rejects.toThrow(
    "what: expected a text that names what to point at, got nothing",
  );
  const nothing = "options of a task: expected an object, got null";
  await expect(glm.caption("a.png", null as never)).rejects.toThrow(nothing);
  await expect(glm.locate("a.png", "a cup", null as never)).rejects.toThrow(nothing);
  await expect(glm.ocr(pdf("a.pdf"), null as never)).rejects.toThrow(nothing);
});

test("reading pages is aborted as a request is", async () => {
  const glm = new Glimpse(new MemoryTransport(), { allowHosts: new Set() });
  const controller = new AbortController();
  const read = glm.ocr(["a.png", "b.png"], { signal: controller.signal });
  controller.abort(new Error("enough"));
  const message = "the request was aborted by its signal";
  await expect(read).rejects.toMatchObject({ code: "ABORTED", message, cause: new Error("enough") });
  await expect(glm.ocr("a.png", { signal: 5 } as object)).rejects.toThrow("signal: expected an AbortSignal, got 5");
});
