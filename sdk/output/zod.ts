import { z } from "zod";
import { GlimpseError } from "../../protocol/errors.ts";
import { enforcedFormats, looksAround } from "./keywords.ts";
import type { StandardSchema } from "./standard.ts";

/** A schema of zod 4, of zod/mini too, and of whichever copy of the package. */
export interface ZodSchema extends StandardSchema {
  readonly _zod: unknown;
}

export function isZod(output: unknown): output is ZodSchema {
  return typeof output === "object" && output !== null && "_zod" in output && "~standard" in output;
}

/** The JSON that the schema takes, before its transforms. Throws SCHEMA_UNSUPPORTED for what no JSON can be. */
export function zodJsonSchema(schema: ZodSchema): Record<string, unknown> {
  try {
    return z.toJSONSchema(schema as unknown as z.ZodType, {
      target: "draft-2020-12",
      io: "input",
      override: ({ zodSchema, jsonSchema }) => narrow(zodSchema, jsonSchema),
    });
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new GlimpseError("SCHEMA_UNSUPPORTED", `output: ${why}`, {
      hint: "The model writes JSON: take a string or a number there, and transform it.",
      cause,
    });
  }
}

/**
 * zod checks the answer once more, so what is enforced may be more, and less, than what it accepts: no keys that it
 * would strip, and of two ways to say the same the one that can be enforced.
 */
function narrow(schema: z.core.$ZodTypes, json: z.core.JSONSchema.BaseSchema): void {
  const { def } = schema._zod;
  if (def.type === "object" && def.catchall === undefined) json.additionalProperties = false;
  const { pattern, format, allOf } = json;
  if (pattern !== undefined && looksAround(pattern) && format !== undefined && enforcedFormats.has(format)) {
    delete json.pattern;
  } else if (pattern !== undefined || allOf !== undefined) {
    delete json.format;
  }
  // The bounds of z.float32() and z.float64(), which have no finite pattern.
  if (json.type === "number" && Math.abs(json.minimum ?? 0) > LARGEST) delete json.minimum;
  if (json.type === "number" && Math.abs(json.maximum ?? 0) > LARGEST) delete json.maximum;
}

/** JavaScript writes larger numbers with an exponent. */
const LARGEST = 1e20;
