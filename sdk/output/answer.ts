import { GlimpseError, type OutputIssue } from "../../protocol/errors.ts";
import type { CancelledResult, GenerateResult, StructuredResult } from "../result.ts";
import { type OutputSchema, validate } from "./schema.ts";

/** A result with what the schema makes of its answer, or with none after a cancel; OUTPUT_INVALID if it refuses the answer. */
export async function structured<Output>(
  result: GenerateResult,
  schema: OutputSchema,
): Promise<StructuredResult<Output> | CancelledResult | GlimpseError> {
  const { finishReason } = result;
  if (finishReason === "cancelled") return { ...result, finishReason, output: undefined };
  const answer = parse(result);
  if (answer === undefined) return cutShort(result);
  const infinite = pathToInfinity(answer.json);
  if (infinite !== undefined) {
    const issue = { message: "the number is larger than JavaScript can hold", path: infinite };
    return refused(result, [issue], "Bound it in the schema, with minimum and maximum.");
  }
  const validated = await validate<Output>(schema, answer.json);
  if ("value" in validated) return { ...result, finishReason, output: validated.value };
  const hint = "A grammar cannot express this check. Say it in the prompt, or ask again with another seed.";
  return refused(result, validated.issues, hint, validated.cause);
}

/** Undefined for JSON that is not complete. */
function parse({ text, finishReason }: GenerateResult): { json: unknown } | undefined {
  try {
    const json: unknown = JSON.parse(text);
    // More digits might have followed.
    return typeof json === "number" && finishReason === "length" ? undefined : { json };
  } catch {
    return undefined;
  }
}

interface Place {
  value: unknown;
  key: PropertyKey;
  parent: Place | undefined;
}

/** Where a number is that JSON can write and JavaScript cannot hold: of `1e400` JSON.parse makes Infinity. */
function pathToInfinity(json: unknown): readonly PropertyKey[] | undefined {
  // A list of its own, as an answer may be nested more deeply than functions can be.
  const places: Place[] = [{ value: json, key: "", parent: undefined }];
  for (const place of places) {
    const { value } = place;
    if (value === Number.POSITIVE_INFINITY || value === Number.NEGATIVE_INFINITY) return pathTo(place);
    if (typeof value !== "object" || value === null) continue;
    for (const [key, inner] of Object.entries(value)) {
      places.push({ value: inner, key: Array.isArray(value) ? Number(key) : key, parent: place });
    }
  }
  return undefined;
}

function pathTo(place: Place): PropertyKey[] {
  const path: PropertyKey[] = [];
  for (let at = place; at.parent !== undefined; at = at.parent) path.unshift(at.key);
  return path;
}

function refused(result: GenerateResult, issues: readonly OutputIssue[], hint: string, cause?: unknown): GlimpseError {
  const [first = { message: "the schema refuses it", path: [] }] = issues;
  const where = first.path.length === 0 ? "" : ` at ${first.path.map(String).join(".")}`;
  return new GlimpseError("OUTPUT_INVALID", `output: the answer has the schema's form, but${where}: ${first.message}`, {
    hint,
    requestId: result.requestId,
    partial: result,
    issues,
    cause,
  });
}

function cutShort(result: GenerateResult): GlimpseError {
  const spent = result.usage.completionTokens;
  const where = result.text === "" ? "before the answer began" : "before the JSON was complete";
  return new GlimpseError("OUTPUT_INVALID", `output: ${spent} tokens were used up ${where}`, {
    hint: "Raise maxNewTokens, bound the schema's texts and arrays, or the thinking with maxThinkingTokens.",
    requestId: result.requestId,
    partial: result,
    issues: [{ message: "the JSON is not complete", path: [] }],
  });
}
