import fc from "fast-check";
import { pack } from "msgpackr";
import { expect, test } from "vitest";
import { decodeControl, decodeData, encode, MAX_HEADER_BYTES } from "../../protocol/codec.ts";
import { GlimpseError } from "../../protocol/errors.ts";
import { isTokens } from "../../protocol/is-tokens.ts";
import { type DataFromWorker, dataFromWorkerSchema } from "../../protocol/messages.ts";

const hello = { type: "hello", protocol: 1, generation: 1, token: "t", pid: 7 };
const tokens: DataFromWorker = {
  type: "tokens",
  items: [{ request: "r", attempt: 0, index: 0, ids: [1, 2], parts: [{ kind: "text", text: "ok" }] }],
};

const nested = (depth: number): Buffer => Buffer.concat([Buffer.alloc(depth, 0x91), Buffer.from([0xc0])]);

test.each([
  ["nothing", Buffer.alloc(0), /ends in the middle/],
  ["a cut-off message", pack(hello).subarray(0, -3), /ends in the middle/],
  ["bytes behind a message", Buffer.concat([pack(hello), Buffer.from([1, 2])]), /2 bytes follow/],
  ["deep nesting", nested(5_000), /nested deeper than/],
  ["an extension type", Buffer.from("81a474797065d40000", "hex"), /0xd4/],
  ["the byte that nothing uses", Buffer.from("c1", "hex"), /0xc1/],
  ["an array that claims four billion values", Buffer.from("ddffffffff", "hex"), /ends in the middle/],
  ["a string that claims four gigabytes", Buffer.from("dbffffffff", "hex"), /ends in the middle/],
  ["a frame beyond the limit", Buffer.alloc(MAX_HEADER_BYTES + 1), /more than/],
  ["a message of the other channel", pack({ type: "done" }), /type/],
  ["an unknown message", pack({ type: "gossip" }), /type/],
  ["an unknown field", pack({ ...hello, more: 1 }), /more/],
  ["a missing field", pack({ type: "hello" }), /protocol/],
  ["a field of a wrong type", pack({ ...hello, pid: "7" }), /pid/],
  ["a number", pack(1), /type/],
])("%s is refused by name", (_, frame, reason) => {
  let failure: unknown;
  try {
    decodeControl(frame);
  } catch (error) {
    failure = error;
  }
  expect(GlimpseError.is(failure, "PROTOCOL_ERROR")).toBe(true);
  expect((failure as GlimpseError).message).toMatch(reason);
});

test("whatever bytes come, they are a message or a named error", () => {
  const good = pack(tokens);
  const mutated = fc
    .array(fc.tuple(fc.nat(good.length - 1), fc.nat(255)), { minLength: 1, maxLength: 6 })
    .map((changes) => {
      const frame = Buffer.from(good);
      for (const [at, byte] of changes) frame[at] = byte;
      return frame;
    });
  const frames = fc.oneof(mutated, fc.uint8Array({ maxLength: 200 }));
  fc.assert(
    fc.property(frames, (frame) => {
      try {
        return decodeData(frame).type !== undefined;
      } catch (error) {
        return GlimpseError.is(error, "PROTOCOL_ERROR");
      }
    }),
    { numRuns: 2_000 },
  );
});

test("the quick check of tokens accepts what is written as text, and nothing that the schema refuses or changes", () => {
  const count = fc.nat(3);
  const part = { kind: fc.constantFrom("text", "thinking", "markup"), text: fc.string() };
  const item = {
    request: fc.string({ minLength: 1, maxLength: 64 }),
    attempt: count,
    index: count,
    ids: fc.array(count),
    parts: fc.array(fc.record(part), { minLength: 1 }),
  };
  const message = fc.record({ type: fc.constant("tokens"), items: fc.array(fc.record(item), { minLength: 1 }) });
  fc.assert(fc.property(message, (value) => isTokens(value)));

  const odd = fc.constantFrom(undefined, null, -1, 1.5, 2 ** 60, 7, "", "text", "x".repeat(65), {}, [], [-1], ["7"]);
  const where = fc.constantFrom<("message" | "item" | "part")[]>("message", "item", "part");
  const field = fc.constantFrom(...["type", "items", "more"], ...Object.keys(item), ...Object.keys(part));
  fc.assert(
    fc.property(message, where, field, odd, (value, place, name, other) => {
      const [first] = value.items;
      Object.assign({ message: value, item: first, part: first?.parts[0] }[place] ?? {}, { [name]: other });
      const parsed = dataFromWorkerSchema.safeParse(value);
      if (isTokens(value)) expect(parsed).toEqual({ success: true, data: value });
    }),
    { numRuns: 2_000 },
  );
});

test("fields that are undefined do not travel, and half a character is mended", () => {
  const packed = encode({
    type: "generate",
    request: "r",
    attempt: 0,
    messages: [{ role: "user", content: [{ type: "text", text: "half \ud83d" }] }],
    media: [],
    options: { seed: 1, temperature: undefined },
  });
  expect(packed.includes("temperature")).toBe(false);
  expect(packed.includes("half \ufffd")).toBe(true);
});
