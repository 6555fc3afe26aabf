// However the model's answer is cut on its way, and however it is read, a user sees the same.
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Transport } from "../../orchestrator/transport.ts";
import type { Part } from "../../protocol/messages.ts";
import { Glimpse } from "../../sdk/client.ts";
import type { GenerateResult, StreamEvent } from "../../sdk/index.ts";
import type { GenerationStream } from "../../sdk/stream.ts";
import { startScripted } from "../orchestrator/scripted.ts";
import { done, MemoryTransport } from "./memory-transport.ts";

type Seen = { type: "thinking" | "text"; text: string } | (StreamEvent & { type: "box" });

/** What is generated among the events, neighbours of a kind joined: it does not tell any more how they came. */
function seen(events: readonly StreamEvent[]): Seen[] {
  const joined: Seen[] = [];
  for (const event of events) {
    if (event.type === "box") joined.push(event);
    if (event.type !== "thinking" && event.type !== "text") continue;
    const last = joined.at(-1);
    if (last?.type === event.type) joined[joined.length - 1] = { type: event.type, text: last.text + event.text };
    else joined.push(event);
  }
  return joined;
}

function textOf(events: readonly Seen[], type: "thinking" | "text"): string {
  return events.map((event) => (event.type === type ? event.text : "")).join("");
}

/** The end has what came before it, whole. */
function expectWhole(events: readonly StreamEvent[], result: GenerateResult): void {
  const all = seen(events);
  expect(events.at(-1)).toEqual({ type: "finish", result });
  expect([textOf(all, "text"), textOf(all, "thinking")]).toEqual([result.text, result.thinking]);
  expect(all.flatMap((event) => (event.type === "box" ? [event] : []))).toEqual(
    result.boxes.map((box) => ({ type: "box", ...box })),
  );
}

describe("the parts of an answer", () => {
  const anyText = fc.string({ unit: "binary", minLength: 1, maxLength: 12 }).map((text) => text.toWellFormed());
  const anyPart: fc.Arbitrary<Part> = fc.oneof(
    fc.record({ kind: fc.constantFrom("thinking" as const, "text" as const), text: anyText }),
    fc.record({ kind: fc.constant("markup" as const), text: fc.constantFrom("<think>", "</answer>", "\n", "END é") }),
    fc.record(
      {
        kind: fc.constant("box" as const),
        image: fc.nat(3),
        page: fc.integer({ min: 1, max: 9 }),
        label: anyText,
        box: fc.tuple(fc.nat(999), fc.nat(999), fc.nat(999), fc.nat(999)),
      },
      { requiredKeys: ["kind", "image", "box"] },
    ),
  );
  /** What happens next: so many characters come in one message, or the reader reads an event. */
  const anyStep = fc.oneof(fc.record({ characters: fc.integer({ min: 1, max: 40 }) }), fc.constant("read" as const));

  test("give the same events however they are cut and read", () =>
    fc.assert(
      fc.asyncProperty(
        fc.array(anyPart, { maxLength: 12 }),
        fc.array(anyStep, { maxLength: 60 }),
        async (parts, steps) => {
          const played = await play(parts, steps);
          const whole = await play(parts, [{ characters: Number.POSITIVE_INFINITY }]);
          expect(seen(played.events)).toEqual(seen(whole.events));
          for (const { events, result } of [played, whole]) {
            expectWhole(events, result);
            expect(result.raw).toBe(parts.map((part) => (part.kind === "box" ? "" : part.text)).join(""));
          }
        },
      ),
      { numRuns: 300 },
    ));

  /** Each message has one id. What no step has brought or read comes, and is read, at the end. */
  async function play(parts: readonly Part[], steps: readonly ("read" | { characters: number })[]) {
    const transport = new MemoryTransport();
    const stream = new Glimpse(transport, { allowHosts: new Set() }).stream({ prompt: "what is this?" });
    const { emit } = await transport.request();
    const events = stream[Symbol.asyncIterator]();
    const reads: ReturnType<typeof events.next>[] = [];
    const rest = [...parts];
    for (const step of [...steps, { characters: Number.POSITIVE_INFINITY }]) {
      if (step === "read") reads.push(events.next());
      else emit({ type: "tokens", ids: [1], parts: cutOff(rest, step.characters) });
    }
    emit(done("stop"));
    const read = (await Promise.all(reads)).flatMap(({ value }) => value ?? []);
    for (let next = await events.next(); !next.done; next = await events.next()) read.push(next.value);
    return { events: read, result: await stream.result };
  }

  /** Takes so many characters off the front of `parts`, and boxes as they come. */
  function cutOff(parts: Part[], characters: number): Part[] {
    const cut: Part[] = [];
    for (let left = characters; left > 0 && parts[0] !== undefined; ) {
      const part = parts.shift() as Part;
      if (part.kind === "box") {
        cut.push(part);
        continue;
      }
      const units = [...part.text];
      cut.push({ ...part, text: units.slice(0, left).join("") });
      if (units.length > left) parts.unshift({ ...part, text: units.slice(left).join("") });
      left -= units.length;
    }
    return cut;
  }
});

describe("a worker's answer, a token at a time", () => {
  let transport: Transport;
  let glm: Glimpse;
  beforeAll(async () => {
    transport = await startScripted();
    glm = new Glimpse(transport, { allowHosts: new Set() });
  });
  afterAll(() => glm.close());

  const pixel = Buffer.from(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==",
    "base64",
  );
  const tags = ["<think>", "</think>", "<answer>", "</answer>", "<|begin_of_box|>", "<|end_of_box|>"];
  const anyPiece = fc.oneof(
    fc.constantFrom(...tags),
    fc.constantFrom(
      "<|begin_of_box|>[10,20,500,999]<|end_of_box|>",
      "[10,20,500,999]",
      '{"bbox_2d": [1,2,3,4], "label": "é"}',
      "(1,2),(3,4)",
      "<thi",
      "</",
      "<|begin_of_",
    ),
    fc.constantFrom("EN", "END", " ", "\n\n", "a", "🙂", "日本"),
    fc.string({ unit: "binary", maxLength: 4 }).map((text) => text.toWellFormed()),
  );
  const anyAnswer = fc
    .array(anyPiece, { minLength: 1, maxLength: 20 })
    .map((pieces) => pieces.join(""))
    .filter((text) => !text.includes("<|user|>") && text.length > 0);

  test("is the same to who reads at once, who reads late, and who reads the result alone", () =>
    fc.assert(
      fc.asyncProperty(anyAnswer, fc.constantFrom(undefined, "END", ["\n\n", "</"]), async (answer, stop) => {
        const ask = () => glm.stream({ prompt: `say ${answer}`, images: [pixel], stop });
        const [atOnce, late] = [ask(), ask()];
        const events = await collect(atOnce);
        const results = [await atOnce.result, await late.result];
        const eventsLate = await collect(late);
        expect(seen(eventsLate)).toEqual(seen(events));
        expectWhole(events, results[0] as GenerateResult);
        expectWhole(eventsLate, results[1] as GenerateResult);
        const said = `<think>I play a script.</think><answer>${answer}</answer><|user|>`;
        for (const { raw, text, thinking } of results) {
          expect(tags.filter((tag) => text.includes(tag) || thinking.includes(tag))).toEqual([]);
          if (stop === undefined) expect(raw).toBe(said);
          // What was generated when the stop string was met.
          else expect(said.startsWith(raw)).toBe(true);
        }
      }),
      { numRuns: 60 },
    ));

  async function collect(stream: GenerationStream): Promise<StreamEvent[]> {
    const events: StreamEvent[] = [];
    for await (const event of stream) events.push(event);
    return events;
  }
});
