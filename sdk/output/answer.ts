import { GlimpseError } from "../../protocol/errors.ts";
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
  const validated = await validate<Output>(schema, answer.json);
  if ("value" in validated) return { ...result, finishReason, output: validated.value };
  const { issues, cause } = validated;
  const [first = { message: "the schema refuses it", path: [] }] = issues;
  const where = first.path.length === 0 ? "" : ` at ${first.path.map(String).join(".")}`;
  return new GlimpseError("OUTPUT_INVALID", `output: the answer has the schema's form, but${where}: ${first.message}`, {
    hint: "A grammar cannot express this check. Say it in the prompt, or ask again with another seed.",
    requestId: result.requestId,
    partial: result,
    issues,
    cause,
  });
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
