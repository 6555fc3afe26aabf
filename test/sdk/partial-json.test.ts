import fc from "fast-check";
import { expect, test } from "vitest";
import { PartialJson } from "../../sdk/output/partial-json.ts";

/** What it gives after each of the pieces, without those after which there was no more. */
function given(...pieces: string[]): unknown[] {
  const json = new PartialJson();
  return pieces.flatMap((piece) => {
    json.push(piece);
    const value = json.grown();
    return value === undefined ? [] : [value];
  });
}

test("an object grows with its texts, and by its numbers and words when they are complete", () => {
  const pieces = ['{"', 'shop": "Har', 'bour"', ', "total": 1', "0.5", '0, "paid": tru', "e", "}"];
  expect(given(...pieces)).toEqual([
    {},
    { shop: "Har" },
    { shop: "Harbour" },
    { shop: "Harbour", total: 10.5 },
    { shop: "Harbour", total: 10.5, paid: true },
  ]);
});

test("half an escape and half a character are not there yet", () => {
  expect(given('"a\\', "n\\u00", "e9\\ud83d", "\\ude00", '\\"')).toEqual(["a", "a\n", "a\né", "a\né😀", 'a\né😀"']);
});

test("null is a value, and a key of any name is one of the object itself", () => {
  expect(given("[null,")).toEqual([[null]]);
  const [value] = given('{"__proto__": "x", "constructor": "y') as [object];
  expect(Object.keys(value)).toEqual(["__proto__", "constructor"]);
  expect(Object.getPrototypeOf(value)).toBe(Object.prototype);
});

test("what JavaScript cannot hold ends it", () => {
  expect(given('{"a": 1, "b": ', "1e400", ', "c": "x"')).toEqual([{ a: 1 }]);
});

test.each(["", " ", "nothing", "]", "12", '{"a"', "{]"])(
  "%j, which is not the beginning of a value, harms nobody",
  (text) => {
    const values = given(text, "\u0000", '{"b":1}');
    for (const value of values) expect(JSON.stringify(value)).toBeDefined();
  },
);

/** Whether `later` is `earlier` with more: longer texts at its end, further members. */
function isGrownFrom(earlier: unknown, later: unknown): boolean {
  if (typeof earlier === "string") return typeof later === "string" && later.startsWith(earlier);
  if (Array.isArray(earlier)) {
    return Array.isArray(later) && earlier.every((item, index) => isGrownFrom(item, later[index]));
  }
  if (typeof earlier === "object" && earlier !== null) {
    return Object.entries(earlier).every(([key, value]) => isGrownFrom(value, (later as Record<string, unknown>)[key]));
  }
  return Object.is(earlier, later);
}

const json = fc.json({ stringUnit: "grapheme", maxDepth: 4 });
const escaped = json.map((text) =>
  text.replaceAll(/[^\u0020-\u007e]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`),
);
const cuts = fc.array(fc.nat({ max: 12 }), { maxLength: 60 });

function cut(text: string, sizes: readonly number[]): string[] {
  const pieces: string[] = [];
  let at = 0;
  for (const size of sizes) {
    pieces.push(text.slice(at, at + size));
    at += size;
  }
  return [...pieces, text.slice(at)];
}

test("however the text is cut, what is given only grows, and is the whole value in the end", () => {
  fc.assert(
    fc.property(fc.oneof(json, escaped), cuts, (text, sizes) => {
      const values = given(...cut(text, sizes), " ");
      for (const [index, value] of values.entries()) {
        if (index > 0) expect(isGrownFrom(values[index - 1], value)).toBe(true);
      }
      expect(values.at(-1)).toEqual(JSON.parse(text));
    }),
    { numRuns: 500 },
  );
});

test("what was given is never changed afterwards", () => {
  fc.assert(
    fc.property(json, cuts, (text, sizes) => {
      const reader = new PartialJson();
      const seen: [unknown, string][] = [];
      for (const piece of cut(text, sizes)) {
        reader.push(piece);
        const value = reader.grown();
        if (value !== undefined) seen.push([value, JSON.stringify(value)]);
      }
      for (const [value, then] of seen) expect(JSON.stringify(value)).toBe(then);
    }),
  );
});
