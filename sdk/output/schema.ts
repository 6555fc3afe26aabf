import { GlimpseError, type OutputIssue } from "../../protocol/errors.ts";
import { invalid, isRecord } from "../invalid.ts";
import { enforceable } from "./enforceable.ts";
import type { StandardIssue, StandardJsonSchema, StandardSchema } from "./standard.ts";
import { valibotOptions } from "./valibot.ts";
import { isZod, type ZodSchema, zodJsonSchema } from "./zod.ts";

/** A JSON Schema, draft 2020-12 or 7, as a plain object. Its answers have the type `unknown`. */
export type JsonSchema =
  | { readonly [keyword: string]: unknown; readonly "~standard"?: undefined }
  | {
      readonly type?: unknown;
      readonly properties?: unknown;
      readonly items?: unknown;
      readonly enum?: unknown;
      readonly const?: unknown;
      readonly anyOf?: unknown;
      readonly oneOf?: unknown;
      readonly allOf?: unknown;
      readonly $ref?: unknown;
      readonly "~standard"?: undefined;
    };

/** What an answer can be held to: a zod 4 schema, another Standard Schema that yields JSON Schema, or a JSON Schema. */
export type OutputSchema = ZodSchema | StandardJsonSchema | JsonSchema;

type Types<Schema> = Schema extends { readonly "~standard": { readonly types?: infer Types } }
  ? NonNullable<Types>
  : unknown;

/** What a schema makes of an answer: for zod, what `parse` returns. */
export type InferOutput<Schema> = Types<Schema> extends { readonly output: infer Output } ? Output : unknown;

/** What a schema takes: the JSON that the model writes. */
export type InferInput<Schema> = Types<Schema> extends { readonly input: infer Input } ? Input : unknown;

/**
 * The JSON Schema that the worker is to enforce, as JSON. Refuses, by name, what is no schema (INVALID_REQUEST) and what
 * cannot be enforced (SCHEMA_UNSUPPORTED).
 */
export function enforcedSchema(output: unknown): string {
  return JSON.stringify(enforceable(jsonSchemaOf(output)));
}

function jsonSchemaOf(output: unknown): Record<string, unknown> {
  if (isZod(output)) return zodJsonSchema(output);
  if (isStandard(output)) return standardJsonSchema(output);
  if (isRecord(output) && (Object.getPrototypeOf(output) === Object.prototype || !Object.getPrototypeOf(output))) {
    return output;
  }
  throw invalid("output", EXPECTED, output);
}

const EXPECTED = "a zod 4 schema, a Standard Schema that yields JSON Schema, or a JSON Schema";

function isStandard(output: unknown): output is StandardSchema {
  if ((typeof output !== "object" && typeof output !== "function") || output === null) return false;
  return "~standard" in output && isRecord(output["~standard"]);
}

function standardJsonSchema({ "~standard": standard }: StandardSchema): Record<string, unknown> {
  const source = "jsonSchema" in standard ? standard.jsonSchema : undefined;
  if (!isRecord(source) || typeof source["input"] !== "function") {
    const vendor = standard.vendor === "zod" ? "zod 3" : String(standard.vendor);
    throw new GlimpseError("INVALID_REQUEST", `output: expected ${EXPECTED}, got a schema of ${vendor} without one`, {
      hint: hints.get(vendor) ?? `See whether ${vendor} can convert it to JSON Schema, and pass that.`,
    });
  }
  const libraryOptions = standard.vendor === "valibot" && { libraryOptions: valibotOptions };
  const json = convert(standard as StandardJsonSchema["~standard"], { target: "draft-2020-12", ...libraryOptions });
  if (isRecord(json)) return json;
  throw invalid("output", `a JSON Schema that is an object from ${standard.vendor}`, json);
}

function convert(
  { vendor, jsonSchema }: StandardJsonSchema["~standard"],
  options: Parameters<StandardJsonSchema["~standard"]["jsonSchema"]["input"]>[0],
): unknown {
  try {
    return jsonSchema.input(options);
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new GlimpseError("SCHEMA_UNSUPPORTED", `output: ${vendor} has no JSON Schema for it: ${why}`, { cause });
  }
}

const hints = new Map([
  ["zod 3", 'Import z from "zod" 4 or later (or from "zod/v4").'],
  ["valibot", "Wrap it in toStandardJsonSchema() of @valibot/to-json-schema."],
]);

export type Validated<Output> = { value: Output } | { issues: readonly OutputIssue[]; cause?: unknown };

/** What the caller's own schema says of an answer that was held to it; a JSON Schema has nothing to add. */
export async function validate<Output>(output: OutputSchema, answer: unknown): Promise<Validated<Output>> {
  if (!isStandard(output)) return { value: answer as Output };
  try {
    const result = await output["~standard"].validate(answer);
    if (result.issues === undefined) return { value: result.value as Output };
    return { issues: result.issues.map(toIssue) };
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    return { issues: [{ message: `the schema's own check failed: ${why}`, path: [] }], cause };
  }
}

function toIssue({ message, path = [] }: StandardIssue): OutputIssue {
  // ArkType's paths are arrays of a class of its own, and so would be what their map() gives.
  return { message, path: Array.from(path, (step) => (typeof step === "object" ? step.key : step)) };
}
