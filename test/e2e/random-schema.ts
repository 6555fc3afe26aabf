import type { Random } from "../chaos/random.ts";

type Schema = Record<string, unknown>;

const words = ["shop", "total", "items", "colour", "größe", "name", "a b", "x", "is_paid", "日付", "lines", "Note"];

/** A JSON Schema of bounded answers: texts, arrays and numbers have limits, and it is at most `depth` objects deep. */
export function randomSchema(random: Random, depth = 3): Schema {
  const make = random.pick(depth > 0 ? [...leaves, ...branches, ...branches] : leaves);
  return make(random, depth);
}

const leaves: ((random: Random, depth: number) => Schema)[] = [
  () => ({ type: "boolean" }),
  () => ({ type: ["string", "null"], maxLength: 12 }),
  (random) => ({ type: "string", minLength: random.int(4), maxLength: 4 + random.int(24) }),
  (random) => ({ type: "string", format: random.pick(["date", "time", "date-time", "ipv4", "uuid"]) }),
  (random) => ({
    type: "string",
    pattern: random.pick(["^[A-Z]{2}[0-9]{2,6}$", "^(red|blue) [a-z]{1,8}$", "^\\d{3}-\\d{4}$"]),
  }),
  (random) => ({ type: "integer", minimum: -random.int(1000), maximum: random.int(100_000) }),
  (random) => ({ type: "number", minimum: 0, maximum: 1 + random.int(500), multipleOf: random.pick([0.01, 0.5, 1]) }),
  (random) => ({
    enum: random.shuffle(["red", "green", 3, null, true, "dark blue", { code: 7 }]).slice(0, 1 + random.int(6)),
  }),
  () => ({ const: "receipt" }),
];

const branches: ((random: Random, depth: number) => Schema)[] = [
  (random, depth) => object(random, depth),
  (random, depth) => object(random, depth),
  (random, depth) => {
    const minItems = random.int(3);
    return { type: "array", items: randomSchema(random, depth - 1), minItems, maxItems: minItems + random.int(3) };
  },
  (random, depth) => ({
    type: "array",
    prefixItems: [randomSchema(random, depth - 1), randomSchema(random, 0)],
    items: false,
    minItems: 2,
  }),
  (random, depth) => ({ anyOf: [randomSchema(random, depth - 1), { type: "null" }, object(random, depth - 1)] }),
  (random, depth) => ({
    oneOf: ["a", "b"].map((kind) => {
      const { properties, required } = object(random, depth - 1) as { properties: Schema; required: string[] };
      return {
        type: "object",
        properties: { kind: { const: kind }, ...properties },
        required: ["kind", ...required],
        additionalProperties: false,
      };
    }),
  }),
  (random, depth) => ({ $defs: { it: randomSchema(random, depth - 1) }, ...object(random, 1) }),
];

function object(random: Random, depth: number): Schema {
  const names = random.shuffle(words).slice(0, 1 + random.int(4));
  return {
    type: "object",
    properties: Object.fromEntries(names.map((name) => [name, randomSchema(random, depth - 1)])),
    required: names.filter(() => random.int(4) > 0),
    additionalProperties: false,
  };
}
