import type { JsonSchema } from "../../sdk/index.ts";

/** As `output`: an answer of some thousand tokens, longer than a Node that gets no processor could sleep through. */
export const longAnswer = {
  type: "array",
  items: { type: "integer", minimum: 0, maximum: 9 },
  minItems: 500,
  maxItems: 500,
} satisfies JsonSchema;
