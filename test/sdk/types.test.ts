// What a TypeScript program may rely on. tsc is the judge; nothing here is run but the switches.
import { expect, expectTypeOf, test } from "vitest";
import {
  type Batch,
  type BatchItem,
  type Box,
  type ChannelMessages,
  type Chat,
  type ErrorCode,
  type GenerateInput,
  type GenerateResult,
  type GenerationStream,
  type Glimpse,
  GlimpseError,
  type launch,
  type Message,
  type OcrResult,
  type PartialResult,
  type StreamEvent,
  tasks,
  type WorkerEvent,
} from "../../sdk/index.ts";

function named(event: StreamEvent): string {
  switch (event.type) {
    case "queued":
      return `${event.position}`;
    case "thinking":
    case "text":
      return event.text;
    case "box":
      return event.label ?? event.box.join();
    case "warning":
      return event.code;
    case "finish":
      return event.result.finishReason;
    default:
      return event satisfies never;
  }
}

function happened(event: WorkerEvent): string {
  switch (event.type) {
    case "state":
      return event.state;
    case "loading":
      return event.stage;
    case "log":
      return event.line;
    case "lost":
      return event.report.message;
    case "restart":
      return `${event.inMs}`;
    case "memory held":
      return event.device;
    case "request":
      return event.outcome;
    default:
      return event satisfies never;
  }
}

test("a switch over events can be exhaustive", () => {
  expect(named({ type: "text", text: "a cat" })).toBe("a cat");
  expect(named({ type: "box", image: 0, box: [1, 2, 3, 4] })).toBe("1,2,3,4");
  expect(happened({ type: "state", worker: "worker-0", generation: 1, state: "ready" })).toBe("ready");
});

test("an item of a batch has a result or an error, by ok", () => {
  const brief = (item: BatchItem<{ id: number }>): string => {
    expectTypeOf(item.item.id).toEqualTypeOf<number>();
    if (item.ok) return expectTypeOf(item.result).toEqualTypeOf<GenerateResult>() && item.result.text;
    // @ts-expect-error there is no result
    void item.result;
    return item.error.code;
  };
  const error = new GlimpseError("TIMEOUT", "late");
  expect(brief({ ok: false, index: 0, item: { id: 1 }, error })).toBe("TIMEOUT");
});

test("a code narrows the error", () => {
  const error: unknown = new GlimpseError("QUEUE_FULL", "full");
  if (!GlimpseError.is(error, "QUEUE_FULL")) throw error;
  expectTypeOf(error.code).toEqualTypeOf<"QUEUE_FULL">();
  expectTypeOf(error.retryAfterMs).toEqualTypeOf<number | undefined>();
  expectTypeOf<GlimpseError["code"]>().toEqualTypeOf<ErrorCode>();
});

test("calls take and give what they say, and nothing is any", () => {
  expectTypeOf<ReturnType<typeof launch>>().resolves.toEqualTypeOf<Glimpse>();
  // Both have a second form, for answers that a schema describes.
  const generate = (glm: Glimpse, input: GenerateInput) => glm.generate(input);
  const stream = (glm: Glimpse, input: GenerateInput) => glm.stream(input);
  expectTypeOf(generate).returns.resolves.toEqualTypeOf<GenerateResult>();
  expectTypeOf(stream).returns.toEqualTypeOf<GenerationStream>();
  expectTypeOf<Glimpse["ocr"]>().returns.resolves.toEqualTypeOf<OcrResult>();
  expectTypeOf<Glimpse["chat"]>().returns.toEqualTypeOf<Chat>();
  const send = (chat: Chat) => chat.send("", { images: ["a.png"] });
  expectTypeOf(send).returns.toEqualTypeOf<GenerationStream>();
  expectTypeOf<Chat["messages"]>().toEqualTypeOf<readonly Message[]>();
  expectTypeOf<Batch<URL>>().toExtend<AsyncIterable<BatchItem<URL>>>();
  expectTypeOf<GenerationStream["textStream"]>().toEqualTypeOf<AsyncIterable<string>>();
  // A stream is no promise: an async function may return it.
  expectTypeOf<GenerationStream>().not.toHaveProperty("then");
  expectTypeOf(tasks.caption).returns.toEqualTypeOf<GenerateInput>();
  expectTypeOf<Box["box"]>().toEqualTypeOf<readonly [left: number, top: number, right: number, bottom: number]>();
  expectTypeOf<ChannelMessages["glimpse:request:error"]["error"]>().toEqualTypeOf<GlimpseError>();
  const written = (error: unknown) => (GlimpseError.is(error, "ABORTED") ? error.partial?.text : "");
  expectTypeOf(written).returns.toEqualTypeOf<string | undefined>();
  expectTypeOf<Extract<BatchItem<URL>, { ok: false }>["error"]["partial"]>().toEqualTypeOf<PartialResult | undefined>();
  expectTypeOf<GenerateResult[keyof GenerateResult]>().not.toBeAny();
  expectTypeOf<GlimpseError["cause"]>().toBeUnknown();
});

test("what a request cannot have is refused by the compiler", () => {
  const take = (_: GenerateInput): void => {};
  take({ prompt: "a", images: ["a.png", new URL("https://example.com/b.png"), Buffer.from("")] });
  take({ messages: [{ role: "user", content: [{ type: "image", url: "a.png" }] }], preset: "chat" });
  // @ts-expect-error a prompt or messages, not both
  take({ prompt: "a", messages: [] });
  // @ts-expect-error no such preset
  take({ prompt: "a", preset: "creative" });
  // @ts-expect-error no such option
  take({ prompt: "a", maxTokens: 5 });
});
