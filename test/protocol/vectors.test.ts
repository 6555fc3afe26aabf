import { readdirSync, readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { decodeControl, decodeData, encode } from "../../protocol/codec.ts";
import {
  controlFromWorkerSchema,
  controlToWorkerSchema,
  countSchema,
  dataFromWorkerSchema,
  generateSchema,
  startSchema,
} from "../../protocol/messages.ts";

interface Vector {
  value: { type: string } & Record<string, unknown>;
  encodings: string[];
}

const folder = new URL("../../protocol/vectors/", import.meta.url);
const vectors = readdirSync(folder)
  .filter((name) => name.endsWith(".json"))
  .map((name) => [name, JSON.parse(readFileSync(new URL(name, folder), "utf8")) as Vector] as const);

const typesOf = (schema: { options: readonly { shape: { type: { value: string } } }[] }) =>
  schema.options.map((option) => option.shape.type.value);

const fromWorker = {
  control: typesOf(controlFromWorkerSchema),
  data: typesOf(dataFromWorkerSchema),
};
const dataToWorker = { generate: generateSchema, count: countSchema };
const toWorker = [...typesOf(controlToWorkerSchema), ...Object.keys(dataToWorker)];

test("every message of the protocol has a vector", () => {
  const covered = new Set(vectors.map(([, { value }]) => value.type));
  const all = [...fromWorker.control, ...fromWorker.data, ...toWorker, startSchema.shape.type.value];
  expect(all.filter((type) => !covered.has(type))).toEqual([]);
});

describe.each(vectors)("%s", (_, { value, encodings }) => {
  if (value.type === "start") {
    test("is a start line", () => {
      expect(startSchema.parse(value)).toEqual(value);
    });
  } else if (toWorker.includes(value.type)) {
    test("is written in one of the accepted encodings", () => {
      const schema = dataToWorker[value.type as keyof typeof dataToWorker] ?? controlToWorkerSchema;
      expect(encodings).toContain(encode(schema.parse(value)).toString("hex"));
    });
  } else {
    test("is read from every accepted encoding", () => {
      const decode = fromWorker.control.includes(value.type) ? decodeControl : decodeData;
      expect(encodings.length).toBeGreaterThan(0);
      for (const encoding of encodings) expect(decode(Buffer.from(encoding, "hex"))).toEqual(value);
    });
  }
});
