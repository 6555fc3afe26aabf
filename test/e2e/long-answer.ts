import type { JsonSchema } from "../../sdk/index.ts";

/** As `output`: an answer of 600 letters, longer than a Node that gets no processor could sleep through. */
export const longAnswer = { type: "string", pattern: "^[a-z]{600}$" } satisfies JsonSchema;
