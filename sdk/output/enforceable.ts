import { GlimpseError } from "../../protocol/errors.ts";
import { MAX_SCHEMA_CHARACTERS } from "../../protocol/messages.ts";
import { isRecord } from "../invalid.ts";
import {
  definitionKeywords,
  enforcedFormats,
  looksAround,
  schemaArrayKeywords,
  schemaKeywords,
  schemaMapKeywords,
  unsupportedKeywords,
} from "./keywords.ts";

type Schema = Record<string, unknown>;

/** Objects and arrays of a schema, one in another. The worker counts the same. */
const MAX_DEPTH = 64;

/**
 * The same schema in the words that the worker's grammar library has. Throws SCHEMA_UNSUPPORTED for what it cannot
 * enforce, as far as names tell; what does not show in them the worker refuses.
 */
export function enforceable(schema: Schema): Schema {
  checkExtent(schema);
  const rewritten = rewrite(schema);
  if (!isRecord(rewritten)) throw unsupported("the schema accepts nothing");
  const { length } = toJson(rewritten);
  if (length > MAX_SCHEMA_CHARACTERS) {
    throw unsupported(`as JSON the schema has ${length} characters, more than ${MAX_SCHEMA_CHARACTERS}`);
  }
  check(rewritten, "", { root: rewritten, checked: new Set() });
  return rewritten;
}

function toJson(schema: Schema): string {
  try {
    return JSON.stringify(schema);
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw unsupported(`the schema is no JSON: ${why}`);
  }
}

/** What one object holds in two places is written twice, so that a few objects can be more than any memory holds. */
function checkExtent(schema: Schema): void {
  let values = 0;
  const visit = (value: unknown, depth: number): void => {
    // Each value is one character of JSON at least.
    if (++values > MAX_SCHEMA_CHARACTERS) throw unsupported(`the schema has more than ${MAX_SCHEMA_CHARACTERS} values`);
    if (typeof value !== "object" || value === null) return;
    if (depth >= MAX_DEPTH) throw unsupported(`the schema is more than ${MAX_DEPTH} levels deep, or contains itself`);
    for (const inner of Object.values(value)) visit(inner, depth + 1);
  };
  visit(schema, 0);
}

/** Keywords that have others to say the same with. */
function rewrite(schema: unknown): unknown {
  if (!isRecord(schema)) return schema;
  const inner = Object.fromEntries(
    Object.entries(schema).map(([keyword, value]) => [keyword, rewriteIn(keyword, value)]),
  );
  const { not, propertyNames, ...rest } = inner;
  if (not === true || (isRecord(not) && Object.keys(not).length === 0)) return false;
  return propertyNames === undefined ? inner : (withNames(propertyNames, not === undefined ? rest : inner) ?? inner);
}

function rewriteIn(keyword: string, value: unknown): unknown {
  if (schemaArrayKeywords.has(keyword) && Array.isArray(value)) return value.map(rewrite);
  if (schemaKeywords.has(keyword)) return rewrite(value);
  if ((schemaMapKeywords.has(keyword) || definitionKeywords.has(keyword)) && isRecord(value)) {
    return Object.fromEntries(Object.entries(value).map(([name, inner]) => [name, rewrite(inner)]));
  }
  return value;
}

/** An object of any names that `names` accepts, without propertyNames; undefined where there is no other word for it. */
function withNames(names: unknown, schema: Schema): Schema | undefined {
  if (!isRecord(names)) return undefined;
  const { type = "string", title: _title, description: _description, ...limits } = names;
  if (type !== "string") return undefined;
  const [[keyword, value] = [], ...others] = Object.entries(limits);
  if (keyword === undefined) return schema;
  if (others.length > 0 || "properties" in schema || "patternProperties" in schema) return undefined;
  const { additionalProperties: values = {}, ...rest } = schema;
  if (keyword === "pattern" && typeof value === "string") {
    return { ...rest, patternProperties: { [value]: values }, additionalProperties: false };
  }
  if (keyword === "enum" && Array.isArray(value)) {
    const properties = Object.fromEntries(value.map((name) => [String(name), values]));
    return { ...rest, properties, additionalProperties: false };
  }
  return undefined;
}

interface Checking {
  root: Schema;
  /** Where references have led already. */
  checked: Set<unknown>;
}

function check(schema: unknown, at: string, checking: Checking): void {
  if (!isRecord(schema) || checking.checked.has(schema)) return;
  checking.checked.add(schema);
  for (const [keyword, value] of Object.entries(schema)) {
    const place = `${at}/${keyword}`;
    if (value === undefined) continue;
    if (unsupportedKeywords.has(keyword))
      throw unsupported(`${keyword} (at ${place}) cannot be enforced while decoding`);
    if (keyword === "format" && !enforcedFormats.has(value)) {
      throw unsupported(`format ${JSON.stringify(value)} (at ${place}) cannot be enforced while decoding`);
    }
    if (keyword === "pattern" && looksAround(value)) {
      throw unsupported(`the pattern at ${place} looks around or back, which cannot be enforced while decoding`);
    }
    if (keyword === "$ref") check(resolve(value, checking.root), String(value), checking);
    checkIn(keyword, value, place, checking);
  }
}

function checkIn(keyword: string, value: unknown, place: string, checking: Checking): void {
  if (schemaArrayKeywords.has(keyword) && Array.isArray(value)) {
    for (const [index, inner] of value.entries()) check(inner, `${place}/${index}`, checking);
  } else if (schemaKeywords.has(keyword)) {
    check(value, place, checking);
  } else if (schemaMapKeywords.has(keyword) && isRecord(value)) {
    for (const [name, inner] of Object.entries(value)) check(inner, `${place}/${name}`, checking);
  }
}

/** What a reference inside the schema leads to; undefined for others, which are the worker's to judge. */
function resolve(reference: unknown, root: Schema): unknown {
  if (typeof reference !== "string" || !reference.startsWith("#")) return undefined;
  const steps = reference.split("/").slice(1).map(unescaped);
  return steps.reduce<unknown>(
    (value, step) => (typeof value === "object" && value !== null ? (value as Schema)[step] : undefined),
    root,
  );
}

function unescaped(step: string): string {
  const plain = step.replaceAll("~1", "/").replaceAll("~0", "~");
  try {
    return decodeURIComponent(plain);
  } catch {
    return plain;
  }
}

function unsupported(what: string): GlimpseError {
  return new GlimpseError("SCHEMA_UNSUPPORTED", `output: ${what}`, {
    hint: "docs/STRUCTURED.md lists what can be. zod's refine() is checked when the answer is there.",
  });
}
