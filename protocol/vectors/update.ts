/**
 * Writes into every vector the encodings of both languages. The values are written by hand; the encodings are what the
 * tests of both languages accept. `GLIMPSE_PYTHON` selects the interpreter. The start line travels as JSON and has none.
 */
import { execFileSync } from "node:child_process";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { encode } from "../codec.ts";

const folder = import.meta.dirname;
const root = join(folder, "../..");
const python = process.env["GLIMPSE_PYTHON"] ?? join(root, ".venv/bin/python");
const script = `
import json, sys, msgspec
from glimpse_worker.protocol import Message, encode
print(*(encode(msgspec.convert(value, Message)).hex() for value in json.load(sys.stdin)))
`;

const vectors = readdirSync(folder)
  .filter((name) => name.endsWith(".json"))
  .map((name) => {
    const path = join(folder, name);
    return { path, value: JSON.parse(readFileSync(path, "utf8")).value };
  });
const messages = vectors.filter(({ value }) => value.type !== "start");
const fromPython = execFileSync(python, ["-P", "-c", script], {
  input: JSON.stringify(messages.map(({ value }) => value)),
  encoding: "utf8",
  env: { ...process.env, PYTHONPATH: join(root, "python-worker") },
})
  .trim()
  .split(" ");

for (const { path, value } of vectors) {
  const place = messages.findIndex((message) => message.path === path);
  const encodings = place < 0 ? [] : [...new Set([encode(value).toString("hex"), fromPython[place]])];
  writeFileSync(path, `${JSON.stringify({ value, encodings }, null, 2)}\n`);
}
