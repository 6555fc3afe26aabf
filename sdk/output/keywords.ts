/** What the grammar library of the worker knows and cannot enforce; it refuses them by name itself. */
export const unsupportedKeywords: ReadonlySet<string> = new Set([
  "$dynamicAnchor",
  "$dynamicRef",
  "$recursiveRef",
  "contains",
  "dependencies",
  "dependentRequired",
  "dependentSchemas",
  "else",
  "if",
  "maxContains",
  "minContains",
  "not",
  "propertyNames",
  "then",
  "unevaluatedItems",
  "unevaluatedProperties",
  "uniqueItems",
]);

/** The values of `format` that are enforced; others are refused. */
export const enforcedFormats: ReadonlySet<unknown> = new Set([
  "date",
  "date-time",
  "duration",
  "email",
  "hostname",
  "ipv4",
  "ipv6",
  "time",
  "uri",
  "uuid",
]);

/** Keywords whose value is a schema, an array of schemas, or an object of them. */
export const schemaKeywords: ReadonlySet<string> = new Set(["additionalItems", "additionalProperties", "items"]);
export const schemaArrayKeywords: ReadonlySet<string> = new Set(["allOf", "anyOf", "items", "oneOf", "prefixItems"]);
export const schemaMapKeywords: ReadonlySet<string> = new Set(["properties", "patternProperties"]);
/** Schemas that count only where something refers to them. */
export const definitionKeywords: ReadonlySet<string> = new Set(["$defs", "definitions"]);

/** Whether a pattern looks ahead or behind, at a word's border, or back at a group: no automaton does. */
export function looksAround(pattern: unknown): boolean {
  if (typeof pattern !== "string") return false;
  // An escaped backslash hides what follows it.
  const bare = pattern.replaceAll(/\\\\/g, "");
  return /\(\?<?[=!]|\\[1-9bBk]/.test(bare.replaceAll(/\[(?:\\.|[^\]\\])*\]/g, "[]"));
}
