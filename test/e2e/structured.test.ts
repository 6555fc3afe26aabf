import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { toStandardJsonSchema } from "@valibot/to-json-schema";
import { Ajv2020 } from "ajv/dist/2020.js";
import { type } from "arktype";
import * as v from "valibot";
import { afterAll, beforeAll, expect, test } from "vitest";
import { z } from "zod";
import { packageRoot } from "../../orchestrator/package-root.ts";
import { type GenerateResult, type Glimpse, GlimpseError, launch } from "../../sdk/index.ts";
import { seeded } from "../chaos/random.ts";
import { longAnswer } from "./long-answer.ts";
import { randomSchema } from "./random-schema.ts";

const receipt = readFileSync(join(packageRoot, "examples", "pictures", "receipt.png"));
const SCHEMAS = 200;
const SEED = 6;

let glm: Glimpse;
beforeAll(async () => {
  glm = await launch();
});
afterAll(async () => {
  await glm.close();
});

/** A judge that shares no code with what enforces the schemas. Formats are patterns of this list. */
const ajv = new Ajv2020({
  formats: {
    date: /^\d{4}-\d\d-\d\d$/,
    time: /^\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)$/,
    "date-time": /^\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)$/,
    ipv4: /^\d{1,3}(\.\d{1,3}){3}$/,
    uuid: /^[\da-fA-F]{8}(-[\da-fA-F]{4}){3}-[\da-fA-F]{12}$/,
  },
  allowUnionTypes: true,
  multipleOfPrecision: 6,
  strictTypes: false,
});

interface Outcome {
  schema: unknown;
  verdict: "valid" | "cut" | "wrong";
  says: string;
}

async function ask(schema: Record<string, unknown>, index: number): Promise<Outcome> {
  const random = seeded(index);
  const input = {
    prompt: random.pick(["Read this receipt. Answer as JSON.", "Describe this image.", "Name a random word."]),
    images: index % 4 === 0 ? [receipt] : [],
    maxNewTokens: 512,
    temperature: random.pick([0, 0.7, 1]),
    seed: index,
    ...(index % 3 === 0 ? {} : { maxThinkingTokens: random.int(3) }),
  };
  try {
    const { output, text } = await glm.generate({ ...input, output: schema });
    const valid = ajv.validate(schema, output);
    return { schema, verdict: valid ? "valid" : "wrong", says: `${text} ${ajv.errorsText()}` };
  } catch (error) {
    if (!GlimpseError.is(error, "OUTPUT_INVALID")) throw error;
    const { usage } = error.partial as GenerateResult;
    const cut = usage.completionTokens === 512 && error.message.includes("tokens were used up");
    return { schema, verdict: cut ? "cut" : "wrong", says: error.message };
  }
}

const bill = z.object({
  shop: z.string(),
  items: z.array(z.object({ name: z.string(), price: z.number() })),
  total: z.number().transform((total) => `${total.toFixed(2)} EUR`),
});
const reading = { prompt: "Read this receipt. Answer as JSON.", images: [receipt], temperature: 0, output: bill };

test("a receipt is read into the object that the schema describes, thinking or not", async () => {
  const items = [
    { name: "Espresso", price: 2.8 },
    { name: "Bagel", price: 3.2 },
    { name: "Juice", price: 4.5 },
  ];
  const expected = { shop: "Harbour Cafe", items, total: "10.50 EUR" };
  const [thought, atOnce] = await Promise.all([
    glm.generate(reading),
    glm.generate({ ...reading, maxThinkingTokens: 0 }),
  ]);
  expect([thought.output, atOnce.output]).toEqual([expected, expected]);
  expect(thought.thinking).toContain("3 items");
  expect(atOnce.thinking).toBe("");
});

test("a schema of Valibot or ArkType reads it as well, with its transforms and checks", async () => {
  const euros = (total: number): string => `${total.toFixed(2)} EUR`;
  const name = v.pipe(v.string(), v.maxLength(30));
  const ofValibot = v.pipe(
    v.strictObject({
      shop: name,
      items: v.array(v.strictObject({ name, price: v.number() })),
      total: v.pipe(v.number(), v.transform(euros)),
    }),
    v.check(({ items }) => items.length < 4, "it has more than 3 items"),
  );
  const item = type({ "+": "reject", name: "string <= 30", price: "number" });
  // ArkType gives the keys of an object in the order of the alphabet.
  const ofArkType = type({ "+": "reject", items: item.array(), shop: "string", total: type("number").pipe(euros) });
  const asked = { ...reading, maxThinkingTokens: 0 };
  const [valibot, arktype] = await Promise.all([
    glm.generate({ ...asked, output: toStandardJsonSchema(ofValibot) }),
    glm.generate({ ...asked, output: ofArkType }),
  ]);
  expect(valibot.output).toMatchObject({ shop: "Harbour Cafe", items: { length: 3 }, total: "10.50 EUR" });
  expect(Object.keys(arktype.output)).toEqual(["items", "shop", "total"]);
  expect(arktype.output.total).toMatch(/^\d+\.\d\d EUR$/);
  const fewer = v.pipe(
    ofValibot,
    v.check(({ items }) => items.length < 3, "it has more than 2 items"),
  );
  await expect(glm.generate({ ...asked, output: toStandardJsonSchema(fewer) })).rejects.toMatchObject({
    code: "OUTPUT_INVALID",
    issues: [{ message: "it has more than 2 items", path: [] }],
  });
  const priced = item.narrow(
    ({ price }, ctx) => price < 0 || ctx.reject({ path: ["price"], message: "it costs something" }),
  );
  await expect(glm.generate({ ...asked, output: priced })).rejects.toMatchObject({
    code: "OUTPUT_INVALID",
    issues: [{ message: "it costs something", path: ["price"] }],
  });
});

test("the object streams while it is written, and leaving the loop ends it", async () => {
  const partials: unknown[] = [];
  for await (const event of glm.stream(reading)) if (event.type === "output") partials.push(event.partial);
  expect(partials[0]).toEqual({});
  expect(partials.at(-1)).toMatchObject({ shop: "Harbour Cafe", items: { length: 3 } });
  expect(partials.length).toBeGreaterThan(20);

  const left = glm.stream({ ...reading, output: longAnswer });
  for await (const event of left) if (event.type === "output") break;
  expect(await left.result).toMatchObject({ finishReason: "cancelled", output: undefined });
});

test("a batch reads many, each item by the schema of its request, and its journal gives the outputs again", async () => {
  const directory = mkdtempSync(join(tmpdir(), "glimpse-journal-"));
  const tooCheap = bill.refine(({ items }) => items.length > 3, "it has 3 items only");
  const run = async () => {
    const endings = [];
    const schemas = { bill, tooCheap };
    const journal = join(directory, "run.jsonl");
    const toInput = (name: "bill" | "tooCheap") => ({ ...reading, maxThinkingTokens: 0, output: schemas[name] });
    for await (const one of glm.batch(["bill", "tooCheap"] as const, toInput, { journal })) endings.push(one);
    return endings;
  };
  const expected = [
    { ok: true, result: { output: { shop: "Harbour Cafe", total: "10.50 EUR" } } },
    { ok: false, error: { code: "OUTPUT_INVALID", issues: [{ message: "it has 3 items only", path: [] }] } },
  ];
  expect(await run()).toMatchObject(expected);
  const again = await run();
  expect(again).toMatchObject(expected);
  expect(again[0]).toMatchObject({ fromJournal: true });
  rmSync(directory, { recursive: true });
});

test("one turn of a chat may be held to a schema, and the next goes on from its JSON", async () => {
  const chat = glm.chat({ temperature: 0, maxThinkingTokens: 0 });
  const { output } = await chat.send(reading.prompt, { images: [receipt], output: bill }).result;
  expect(output).toMatchObject({ shop: "Harbour Cafe", total: "10.50 EUR" });
  const { usage } = await chat.send("Read all the text in this image.").result;
  expect(usage.cachedTokens).toBeGreaterThan(64);
  expect(chat.messages[1]?.content).toContain('"shop"');
});

test("what only the worker can judge is refused by name too", async () => {
  const overlapping = { oneOf: [{ type: "integer" }, { type: "number" }] };
  await expect(glm.generate({ ...reading, output: overlapping })).rejects.toMatchObject({
    code: "SCHEMA_UNSUPPORTED",
    message: expect.stringContaining("oneOf"),
  });
});

test(`of ${SCHEMAS} random bounded schemas 98 % are answered within 512 tokens, and the rest is cut`, async () => {
  const random = seeded(SEED);
  const schemas = Array.from({ length: SCHEMAS }, () => randomSchema(random));
  const outcomes = await Promise.all(schemas.map(ask));
  expect(outcomes.filter(({ verdict }) => verdict === "wrong")).toEqual([]);
  expect(outcomes.filter(({ verdict }) => verdict === "cut").length).toBeLessThanOrEqual(0.02 * SCHEMAS);
}, 180_000);
