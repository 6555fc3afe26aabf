/**
 * Writes into every vector the encodings of both languages: `npm run vectors`. The values are written by hand; the
 * encodings are what the tests of both languages accept.
 */
import { execFileSync } from "node:child_process";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { encode } from "../codec.ts";

const folder = import.meta.dirname;
const python = process.env["GLIMPSE_PYTHON"] ?? join(folder, "../../.venv/bin/python");
const script = "import json,sys,msgspec; print(msgspec.msgpack.encode(json.load(sys.stdin)).hex())";

for (const file of readdirSync(folder).filter((name) => name.endsWith(".json"))) {
  const path = join(folder, file);
  const { value } = JSON.parse(readFileSync(path, "utf8"));
  const floats = JSON.stringify(value, null, 0);
  const fromPython = execFileSync(python, ["-c", script], { input: floats, encoding: "utf8" }).trim();
  const encodings = [...new Set([encode(value).toString("hex"), fromPython])];
  writeFileSync(path, `${JSON.stringify({ value, encodings }, null, 2)}\n`);
}
