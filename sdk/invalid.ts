import { GlimpseError } from "../protocol/errors.ts";

/** An option or input that is not what the call accepts: which one, what was expected, what came. */
export function invalid(what: string, expected: string, got: unknown, hint?: string): GlimpseError {
  return new GlimpseError("INVALID_REQUEST", `${what}: expected ${expected}, got ${describe(got)}`, { hint });
}

const SHOWN_CHARACTERS = 60;

/** A value as an error message shows it: short, and never the contents of an object or a URL. */
export function describe(value: unknown): string {
  switch (typeof value) {
    case "undefined":
      return "nothing";
    case "string":
      return describeText(value);
    case "object":
      return value === null ? "null" : describeObject(value);
    case "function":
      return "a function";
    default:
      return String(value);
  }
}

/** Of a URL only the scheme: the rest of it may hold secrets. */
function describeText(text: string): string {
  const scheme = /^\s*([a-z][a-z0-9+.-]{0,30}:\/\/|https?:)/i.exec(text)?.[1];
  if (scheme !== undefined) return `a text that begins with ${scheme}`;
  if (text.length <= SHOWN_CHARACTERS) return JSON.stringify(text);
  return `${JSON.stringify(text.slice(0, SHOWN_CHARACTERS))}… (${text.length} characters)`;
}

function describeObject(value: object): string {
  if (Array.isArray(value)) return value.length === 0 ? "an empty array" : "an array";
  const name: unknown = value.constructor?.name;
  if (typeof name !== "string" || name === "" || name === "Object") return "an object";
  return `${/^[aeio]/i.test(name) ? "an" : "a"} ${name}`;
}

/** Whether `value` is an object with named fields: no array, no null. */
export function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** Refuses the first field of `value` that is set and not in `known`, and names the one that was probably meant. */
export function refuseUnknownKeys(value: Record<string, unknown>, known: readonly string[], what: string): void {
  const unknown = Object.keys(value).find((key) => value[key] !== undefined && !known.includes(key));
  if (unknown === undefined) return;
  const meant = closest(unknown, known);
  throw new GlimpseError("INVALID_REQUEST", `${what}: expected only ${known.join(", ")}, got ${describe(unknown)}`, {
    hint: meant === undefined ? `Remove ${unknown}.` : `Did you mean ${meant}?`,
  });
}

/** What transformers and other clients call our options, where more than the spelling differs. */
const otherNames = new Map([
  ["maxtokens", "maxNewTokens"],
  ["maxcompletiontokens", "maxNewTokens"],
  ["maxoutputtokens", "maxNewTokens"],
  ["thinkingbudget", "maxThinkingTokens"],
  ["dosample", "temperature"],
  ["stopstrings", "stop"],
  ["stopsequences", "stop"],
  ["abortsignal", "signal"],
  ["schema", "output"],
  ["structured", "output"],
  ["format", "output"],
  ["responseformat", "output"],
  ["jsonschema", "output"],
]);

function closest(name: string, known: readonly string[]): string | undefined {
  const plain = bare(name);
  const other = otherNames.get(plain);
  if (other !== undefined && known.includes(other)) return other;
  const ranked = known
    .map((candidate) => ({ candidate, distance: editDistance(plain, bare(candidate)) }))
    .sort((a, b) => a.distance - b.distance);
  const best = ranked[0];
  return best !== undefined && best.distance <= Math.min(2, plain.length / 2.5) ? best.candidate : undefined;
}

function bare(name: string): string {
  return name.slice(0, 40).toLowerCase().replace(/[_-]/g, "");
}

/** Levenshtein's distance, one row at a time. */
function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, column) => column);
  for (const [line, letter] of [...a].entries()) {
    const next = [line + 1];
    for (const [column, other] of [...b].entries()) {
      const replaced = (row[column] ?? 0) + (letter === other ? 0 : 1);
      next.push(Math.min(replaced, (row[column + 1] ?? 0) + 1, (next[column] ?? 0) + 1));
    }
    row = next;
  }
  return row[b.length] ?? 0;
}
