import { readFileSync } from "node:fs";
import { toStandardJsonSchema } from "@valibot/to-json-schema";
import { type } from "arktype";
import * as v from "valibot";
import { describe, expect, it } from "vitest";
import { z } from "zod";
import * as mini from "zod/mini";
import { GlimpseError } from "../../protocol/errors.ts";
import { MAX_SCHEMA_CHARACTERS } from "../../protocol/messages.ts";
import { enforcedSchema } from "../../sdk/output/schema.ts";
import { failure, pngLike, prepareUntyped } from "./pictures.ts";

interface Vector {
  name: string;
  schema: object;
  refused?: string;
  by?: "both" | "worker";
}

const file = new URL("../../protocol/schema-vectors.json", import.meta.url);
const vectors = JSON.parse(readFileSync(file, "utf8")) as Vector[];

const enforced = (schema: unknown): unknown => JSON.parse(enforcedSchema(schema));

function refusal(schema: unknown): GlimpseError {
  try {
    enforcedSchema(schema);
  } catch (error) {
    if (GlimpseError.is(error)) return error;
    throw error;
  }
  return expect.fail("it was taken");
}

/** As zod gives it, an object that is closed. */
function closed(properties: object, ...optional: string[]) {
  const required = Object.keys(properties).filter((name) => !optional.includes(name));
  return { type: "object", properties, required, additionalProperties: false };
}

describe("the list of what cannot be enforced is that of the worker's library", () => {
  it.each(vectors.filter(({ by }) => by !== "both"))("$name is passed on as it is", ({ schema }) => {
    expect(enforced(schema)).toEqual(schema);
  });

  it.each(vectors.filter(({ by }) => by === "both"))("$name is refused before it is queued", ({ schema, refused }) => {
    const error = refusal(schema);
    expect(error.code).toBe("SCHEMA_UNSUPPORTED");
    expect(error.message).toContain(refused);
    expect(error.hint).toContain("docs/STRUCTURED.md");
  });

  it("says where in the schema it is", () => {
    const schema = { properties: { tags: { anyOf: [{ type: "null" }, { type: "array", uniqueItems: true }] } } };
    expect(refusal(schema).message).toBe(
      "output: uniqueItems (at /properties/tags/anyOf/1/uniqueItems) cannot be enforced while decoding",
    );
  });
});

describe("limits", () => {
  it("are named", () => {
    const deep = JSON.parse(`${'{"items":'.repeat(64)}{}${"}".repeat(64)}`);
    expect(refusal(deep).message).toContain("more than 64 levels deep");
    expect(refusal({ enum: ["x".repeat(MAX_SCHEMA_CHARACTERS)] }).message).toContain(
      `more than ${MAX_SCHEMA_CHARACTERS}`,
    );
    const round: Record<string, unknown> = {};
    round["items"] = round;
    expect(refusal(round).message).toContain("contains itself");
    let doubled: object = { type: "string" };
    for (let level = 0; level < 30; level++) doubled = { anyOf: [doubled, doubled] };
    expect(refusal(doubled).message).toContain(`more than ${MAX_SCHEMA_CHARACTERS} values`);
    expect(refusal({ not: {} }).message).toContain("accepts nothing");
  });
});

describe("a zod schema", () => {
  it("is enforced as the JSON that it takes, without the keys that it would strip", () => {
    const schema = z.object({
      shop: z.string().min(1),
      total: z.number().positive(),
      at: z.iso.date().optional(),
      seller: z.object({ name: z.string() }).nullable(),
      count: z.string().transform(Number),
      currency: z.enum(["EUR", "USD"]).default("EUR"),
    });
    expect(enforced(schema)).toMatchObject(
      closed(
        {
          shop: { type: "string", minLength: 1 },
          total: { type: "number", exclusiveMinimum: 0 },
          at: { type: "string", pattern: expect.any(String) },
          seller: { anyOf: [closed({ name: { type: "string" } }), { type: "null" }] },
          count: { type: "string" },
          currency: { type: "string", enum: ["EUR", "USD"] },
        },
        "at",
        "currency",
      ),
    );
  });

  it("may be strict, loose or of zod/mini", () => {
    expect(enforced(z.strictObject({ a: z.string() }))).toMatchObject({ additionalProperties: false });
    expect(enforced(z.looseObject({ a: z.string() }))).toMatchObject({ additionalProperties: {} });
    expect(enforced(z.object({}).catchall(z.int32()))).toMatchObject({ additionalProperties: { type: "integer" } });
    expect(enforced(mini.object({ a: mini.string() }))).toMatchObject(closed({ a: { type: "string" } }));
  });

  it.each([
    ["any names", z.record(z.string(), z.boolean()), { additionalProperties: { type: "boolean" } }],
    [
      "names from a list",
      z.record(z.enum(["a", "b"]), z.boolean()),
      {
        properties: { a: { type: "boolean" }, b: { type: "boolean" } },
        required: ["a", "b"],
        additionalProperties: false,
      },
    ],
    [
      "names of a pattern",
      z.record(z.string().regex(/^x/), z.boolean()),
      { patternProperties: { "^x": { type: "boolean" } }, additionalProperties: false },
    ],
  ])("of a record with %s has no propertyNames", (_, schema, expected) => {
    expect(enforced(schema)).toEqual({ $schema: expect.any(String), type: "object", ...expected });
  });

  it("may contain itself", () => {
    interface Tree {
      name: string;
      children: Tree[];
    }
    const tree: z.ZodType<Tree> = z.object({ name: z.string(), children: z.array(z.lazy(() => tree)) });
    expect(enforced(tree)).toMatchObject(closed({ name: {}, children: { type: "array", items: { $ref: "#" } } }));
    expect(enforced(z.json())).toMatchObject({ anyOf: expect.any(Array) });
  });

  it.each([
    ["email", z.email(), ["pattern"]],
    ["uuid", z.uuid(), ["pattern"]],
    ["url", z.url(), ["format"]],
    ["ISO date-time", z.iso.datetime(), ["pattern"]],
    ["ISO duration", z.iso.duration(), ["format"]],
    ["hostname", z.hostname(), ["format"]],
    ["nanoid", z.nanoid(), ["pattern"]],
    ["startsWith and endsWith", z.string().startsWith("a").endsWith("b"), ["allOf"]],
    ["includes", z.string().includes("ab"), ["pattern"]],
    ["lowercase", z.string().lowercase(), ["pattern"]],
    ["template literal", z.templateLiteral(["no. ", z.int()]), ["pattern"]],
  ])("of an %s is enforced by %3$j", (_, schema, keywords) => {
    const { $schema: _schema, type, contentEncoding: _encoding, ...rest } = enforced(schema) as Record<string, unknown>;
    expect(type).toBe("string");
    expect(Object.keys(rest)).toEqual(keywords);
  });

  it("of a float has no bounds that no number written out has", () => {
    expect(enforced(z.float32())).toMatchObject({ type: "number" });
    expect(Object.keys(enforced(z.float64()) as object)).not.toContain("maximum");
    expect(enforced(z.int32())).toMatchObject({ minimum: -(2 ** 31), maximum: 2 ** 31 - 1 });
  });

  it("with a key that must not be there keeps it away", () => {
    expect(enforced(z.object({ a: z.never().optional() }))).toMatchObject({ properties: { a: false } });
  });

  it.each([
    ["a Date", z.object({ at: z.date() }), "Date cannot be represented in JSON Schema"],
    ["a BigInt", z.bigint(), "BigInt"],
    ["a Map", z.map(z.string(), z.string()), "Map"],
    ["an emoji", z.emoji(), "pattern"],
    ["a JWT", z.jwt(), '"jwt"'],
  ])("of %s is refused by name", (_, schema, named) => {
    const error = refusal(schema);
    expect(error).toMatchObject({ code: "SCHEMA_UNSUPPORTED", message: expect.stringContaining(named) });
    expect(error.hint).toBeDefined();
  });
});

describe("other schemas", () => {
  const validate = (value: unknown) => ({ value });

  it("are taken when they yield JSON Schema, functions too", () => {
    const asked: unknown[] = [];
    const input = (options: unknown) => {
      asked.push(options);
      return { type: "string" };
    };
    const schema = { "~standard": { version: 1, vendor: "own", validate, jsonSchema: { input } } };
    expect(enforced(schema)).toEqual({ type: "string" });
    expect(enforced(Object.assign(() => {}, schema))).toEqual({ type: "string" });
    expect(asked).toEqual([{ target: "draft-2020-12" }, { target: "draft-2020-12" }]);
  });

  it.each([
    ["valibot", "valibot", "toStandardJsonSchema"],
    ["zod", "zod 3", "zod/v4"],
    ["effect", "effect", "convert it to JSON Schema"],
  ])("of %s are refused by name when they yield none", (vendor, named, hint) => {
    expect(refusal({ "~standard": { version: 1, vendor, validate } })).toMatchObject({
      code: "INVALID_REQUEST",
      message: expect.stringContaining(`got a schema of ${named} without one`),
      hint: expect.stringContaining(hint),
    });
  });

  it("of Valibot keep to themselves what JSON Schema cannot say", () => {
    const even = v.pipe(
      v.number(),
      v.check((n) => n % 2 === 0, "it is odd"),
    );
    const schema = v.pipe(
      v.strictObject({ n: even, at: v.pipe(v.string(), v.isoDate(), v.transform(Date.parse)) }),
      v.forward(
        v.partialCheck([["n"]], ({ n }) => n > 0, "it is not positive"),
        ["n"],
      ),
    );
    const enforcedPart = { n: { type: "number" }, at: { type: "string", format: "date" } };
    expect(enforced(toStandardJsonSchema(schema))).toEqual({ $schema: expect.any(String), ...closed(enforcedPart) });
    expect(refusal(toStandardJsonSchema(v.object({ at: v.date() })))).toMatchObject({
      code: "SCHEMA_UNSUPPORTED",
      message: 'output: valibot has no JSON Schema for it: The "date" schema cannot be converted to JSON Schema.',
    });
    expect(refusal(v.object({ at: v.string() }))).toMatchObject({
      message: expect.stringContaining("got a schema of valibot without one"),
      hint: "Wrap it in toStandardJsonSchema() of @valibot/to-json-schema.",
    });
  });

  it("of ArkType are functions, and as open as they say", () => {
    expect(enforced(type({ shop: "string", "items?": "number[] >= 1" }))).toEqual({
      $schema: expect.any(String),
      type: "object",
      properties: { shop: { type: "string" }, items: { type: "array", minItems: 1, items: { type: "number" } } },
      required: ["shop"],
    });
    expect(enforced(type({ "+": "reject", shop: "string" }))).toMatchObject(closed({ shop: { type: "string" } }));
    expect(refusal(type({ at: "string.date.iso" })).message).toContain(
      "the pattern at /properties/at/pattern looks around",
    );
  });

  it("that cannot be converted say so themselves", () => {
    const input = () => {
      throw new Error("a morph has no input");
    };
    expect(refusal({ "~standard": { version: 1, vendor: "arktype", validate, jsonSchema: { input } } })).toMatchObject({
      code: "SCHEMA_UNSUPPORTED",
      message: "output: arktype has no JSON Schema for it: a morph has no input",
    });
  });

  it("that yield something else than a JSON Schema are refused", () => {
    for (const [given, got] of [
      [true, "true"],
      [undefined, "nothing"],
    ]) {
      expect(
        refusal({ "~standard": { version: 1, vendor: "own", validate, jsonSchema: { input: () => given } } }),
      ).toMatchObject({
        code: "INVALID_REQUEST",
        message: `output: expected a JSON Schema that is an object from own, got ${got}`,
      });
    }
  });

  it("what JSON cannot hold is no JSON Schema", () => {
    expect(refusal({ type: "integer", maximum: 1n })).toMatchObject({
      code: "SCHEMA_UNSUPPORTED",
      message: expect.stringContaining("output: the schema is no JSON: "),
    });
  });

  it.each([[3], ["{}"], [[]], [null], [new Map()], [() => {}]])("%j is no schema", (value) => {
    expect(refusal(value)).toMatchObject({
      code: "INVALID_REQUEST",
      message: expect.stringMatching(/^output: expected a zod 4 schema, .*, got /),
    });
  });
});

describe("a request", () => {
  it("carries the schema to the worker as it was at the call", async () => {
    const schema = { type: "object", properties: { a: { type: "string" } } };
    const prepared = prepareUntyped({ prompt: "?", images: [pngLike("a")], output: schema });
    schema.properties.a.type = "number";
    expect((await prepared).options).toMatchObject({
      schema: '{"type":"object","properties":{"a":{"type":"string"}}}',
    });
    expect((await prepareUntyped({ prompt: "?" })).options).not.toHaveProperty("schema");
  });

  it("has no stop texts beside it", async () => {
    expect(await failure(prepareUntyped({ prompt: "?", output: {}, stop: "x" }))).toMatchObject({
      code: "INVALID_REQUEST",
      message: "stop: expected nothing beside output, whose JSON ends by itself, got an array",
    });
  });

  it("is refused before a picture is read", async () => {
    const input = { prompt: "?", images: ["/nowhere.png"], output: { uniqueItems: true } };
    expect(await failure(prepareUntyped(input))).toMatchObject({ code: "SCHEMA_UNSUPPORTED" });
  });

  it.each(["schema", "responseFormat", "json_schema", "format"])("with %s is told of output", async (given) => {
    expect(await failure(prepareUntyped({ prompt: "?", [given]: {} }))).toMatchObject({ hint: "Did you mean output?" });
  });
});
