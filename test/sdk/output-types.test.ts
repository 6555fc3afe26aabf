import { toStandardJsonSchema } from "@valibot/to-json-schema";
import { type } from "arktype";
import * as v from "valibot";
import { expectTypeOf, test } from "vitest";
import { z } from "zod";
import * as mini from "zod/mini";
import {
  type AnyInput,
  type Batch,
  type BatchItem,
  type Chat,
  type GenerateResult,
  type GenerationStream,
  type Glimpse,
  type JsonSchema,
  type PartialOutput,
  type StructuredResult,
  type StructuredStream,
  type ToInput,
  tasks,
} from "../../sdk/index.ts";
import type { StandardJsonSchema, StandardSchema } from "../../sdk/output/standard.ts";

// Checked by tsc; nothing of it runs.
declare const glm: Glimpse;
const generate = async () => glm.generate({ prompt: "", output: receipt });
const receipt = z.object({
  shop: z.string(),
  paidAt: z.iso
    .date()
    .transform((text) => new Date(text))
    .optional(),
});
type Receipt = { shop: string; paidAt?: Date | undefined };

test("the output of a zod schema is what it parses to", () => {
  expectTypeOf(generate).returns.resolves.toHaveProperty("output").toEqualTypeOf<Receipt>();
  expectTypeOf(generate).returns.resolves.toHaveProperty("finishReason").toEqualTypeOf<"stop" | "length">();
  const ofMini = async () => glm.generate({ prompt: "", output: mini.object({ n: mini.optional(mini.int()) }) });
  expectTypeOf(ofMini).returns.resolves.toHaveProperty("output").toEqualTypeOf<{ n?: number | undefined }>();
});

test("without a schema there is no output", () => {
  const plain = async () => glm.generate({ prompt: "", temperature: 0 });
  expectTypeOf(plain).returns.resolves.not.toHaveProperty("output");
  const stream = () => glm.stream({ prompt: "" });
  expectTypeOf<Awaited<ReturnType<typeof stream>["result"]>>().not.toHaveProperty("output");
});

test("the output of a Standard Schema is its own, that of a JSON Schema is unknown", () => {
  const standard = async (output: StandardJsonSchema<string, URL>) => glm.generate({ prompt: "", output });
  expectTypeOf(standard).returns.resolves.toHaveProperty("output").toEqualTypeOf<URL>();
  const json = async () =>
    glm.generate({ prompt: "", output: { type: "object", properties: { a: { minLength: 1 } } } });
  expectTypeOf(json).returns.resolves.toHaveProperty("output").toEqualTypeOf<unknown>();
  interface Published {
    $schema?: string;
    type?: string | string[];
    properties?: Record<string, Published | boolean>;
  }
  expectTypeOf<Published>().toExtend<JsonSchema>();
});

test("the output of Valibot and of ArkType is theirs", () => {
  const day = {
    at: v.pipe(
      v.string(),
      v.isoDate(),
      v.transform((text) => new Date(text)),
    ),
    note: v.optional(v.string()),
  };
  const ofValibot = async () => glm.generate({ prompt: "", output: toStandardJsonSchema(v.object(day)) });
  expectTypeOf(ofValibot)
    .returns.resolves.toHaveProperty("output")
    .toEqualTypeOf<{ at: Date; note?: string | undefined }>();
  const arkDay = type({ at: type("string").pipe((text) => new Date(text)), "note?": "string" });
  const ofArkType = async () => glm.generate({ prompt: "", output: arkDay });
  expectTypeOf(ofArkType).returns.resolves.toHaveProperty("output").toEqualTypeOf<{ at: Date; note?: string }>();
  const partials = () => glm.stream({ prompt: "", output: arkDay });
  type Partial = Extract<StructuredEventOf<ReturnType<typeof partials>>, { type: "output" }>["partial"];
  expectTypeOf<Partial>().toEqualTypeOf<{ readonly at?: string; readonly note?: string }>();
  const refused = () => {
    // @ts-expect-error Valibot alone yields no JSON Schema.
    glm.generate({ prompt: "", output: v.object(day) });
  };
  expectTypeOf(refused).returns.toBeVoid();
});

type StructuredEventOf<Stream> = Stream extends AsyncIterable<infer Event> ? Event : never;

test("what cannot be converted is refused by the compiler", () => {
  const refused = (schema: StandardSchema<string>) => {
    // @ts-expect-error A Standard Schema without jsonSchema.
    glm.generate({ prompt: "", output: schema });
    // @ts-expect-error No schema at all.
    glm.generate({ prompt: "", output: 3 });
    // @ts-expect-error The JSON ends by itself.
    glm.generate({ prompt: "", output: receipt, stop: "x" });
  };
  expectTypeOf(refused).returns.toBeVoid();
});

test("a stream's events can be told apart without a rest", () => {
  const read = async (stream: StructuredStream<Receipt, { shop: string; paidAt?: string | undefined }>) => {
    for await (const event of stream) {
      switch (event.type) {
        case "queued":
        case "thinking":
        case "text":
        case "box":
        case "warning":
          break;
        case "output":
          expectTypeOf(event.partial).toEqualTypeOf<{ readonly shop?: string; readonly paidAt?: string | undefined }>();
          break;
        case "finish":
          if (event.result.finishReason === "cancelled") expectTypeOf(event.result.output).toBeUndefined();
          else expectTypeOf(event.result.output).toEqualTypeOf<Receipt>();
          break;
        default:
          event satisfies never;
      }
    }
  };
  expectTypeOf(read).parameter(0).toEqualTypeOf<ReturnType<typeof streamed>>();
});

const streamed = () => glm.stream({ prompt: "", output: receipt });

test("a turn of a chat has the output of its schema", () => {
  const send = (chat: Chat) => chat.send("", { images: ["a.png"], output: receipt });
  expectTypeOf(send).returns.toEqualTypeOf<ReturnType<typeof streamed>>();
  const refused = (chat: Chat) => {
    // @ts-expect-error The JSON ends by itself.
    chat.send("", { output: receipt, stop: "x" });
    // @ts-expect-error It is for one turn.
    glm.chat({ output: receipt });
  };
  expectTypeOf(refused).returns.toBeVoid();
});

test("partial outputs are partial to their leaves", () => {
  expectTypeOf<PartialOutput<{ a: { b: string }[]; c: number | null }>>().toEqualTypeOf<{
    readonly a?: readonly { readonly b?: string }[];
    readonly c?: number | null;
  }>();
});

test("an item of a batch has the output of the schema that its request names", () => {
  const structured = () => glm.batch(["a.png"], (file) => ({ prompt: "", images: [file], output: receipt }));
  type Answered = BatchItem<string, StructuredResult<Receipt>>;
  expectTypeOf<ReturnType<typeof structured>>().toEqualTypeOf<Batch<string, StructuredResult<Receipt>>>();
  const read = (ending: Answered) => ending.ok && ending.result.output;
  expectTypeOf(read).returns.toEqualTypeOf<false | Receipt>();
  const later = () => glm.batch([1], async (item) => ({ prompt: `${item}`, output: receipt }), { concurrency: 2 });
  expectTypeOf<ReturnType<typeof later>>().toEqualTypeOf<Batch<number, StructuredResult<Receipt>>>();
  const keyed = () =>
    glm.batch([{ id: 1 }], ({ id }) => ({ prompt: `${id}`, output: receipt }), {
      journal: "a",
      key: ({ id }) => `${id}`,
    });
  expectTypeOf<ReturnType<typeof keyed>>().toEqualTypeOf<Batch<{ id: number }, StructuredResult<Receipt>>>();
});

test("without a schema an item of a batch has none, and what its request cannot have is refused", () => {
  const plain = () => glm.batch(["a"], (prompt, index) => ({ prompt, seed: index, preset: "chat" }));
  expectTypeOf<ReturnType<typeof plain>>().toEqualTypeOf<Batch<string>>();
  const either = () =>
    glm.batch(["a", "b"], (prompt, index) => (index === 0 ? { prompt, output: receipt } : { prompt }));
  type Either = GenerateResult | StructuredResult<Receipt>;
  expectTypeOf<ReturnType<typeof either>>().toEqualTypeOf<Batch<string, Either>>();
  const json = () => glm.batch(["a"], (prompt) => ({ prompt, output: { type: "object" } }));
  expectTypeOf<ReturnType<typeof json>>().toEqualTypeOf<Batch<string, StructuredResult<unknown>>>();
  const named: ToInput<string> = (prompt) => ({ prompt });
  const byName = () => glm.batch(["a"], named);
  expectTypeOf<ReturnType<typeof byName>>().toEqualTypeOf<Batch<string>>();
  const task = () => glm.batch(["a.png"], (file) => tasks.caption(file));
  expectTypeOf<ReturnType<typeof task>>().toEqualTypeOf<Batch<string>>();
  const message = () => glm.batch(["a"], (content) => ({ messages: [{ role: "user", content }] }));
  expectTypeOf<ReturnType<typeof message>>().toEqualTypeOf<Batch<string>>();
  // @ts-expect-error The JSON ends by itself.
  const stopped = () => glm.batch(["a"], (prompt) => ({ prompt, output: receipt, stop: "x" }));
  // @ts-expect-error No schema at all.
  const number = () => glm.batch(["a"], (prompt) => ({ prompt, output: 3 }));
  expectTypeOf([stopped, number]).toBeArray();
});

test("code that is handed an input, with a schema or without, may pass it on", () => {
  const generate = (input: AnyInput) => glm.generate(input);
  expectTypeOf(generate).returns.resolves.toEqualTypeOf<GenerateResult>();
  const stream = (input: AnyInput) => glm.stream(input);
  expectTypeOf(stream).returns.toEqualTypeOf<GenerationStream | StructuredStream<unknown>>();
  // The others are no less exact for it.
  const plain = () => glm.stream({ prompt: "?" });
  expectTypeOf(plain).returns.toEqualTypeOf<GenerationStream>();
});
