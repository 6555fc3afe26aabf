import { APICallError } from "@ai-sdk/provider";
import { GlimpseError } from "../../protocol/errors.ts";
import type { GenerateResult } from "../result.ts";

/**
 * A failure in the AI SDK's words: an abort is the reason of the signal, as it is for `fetch`; what is worth another try
 * is what `maxRetries` repeats, and waits for as long as we say; the rest stays what it is.
 */
export function toAiError(error: unknown): unknown {
  if (!GlimpseError.is(error)) return error;
  if (error.code === "ABORTED") return error.cause;
  if (!error.retryable) return error;
  const { message, retryAfterMs } = error;
  return new APICallError({
    message,
    // There is no URL behind it, but the class wants one.
    url: "glimpse:",
    requestBodyValues: undefined,
    isRetryable: true,
    ...(retryAfterMs !== undefined && { responseHeaders: { "retry-after-ms": String(retryAfterMs) } }),
    cause: error,
  });
}

/**
 * The result that does not hold to its schema. The AI SDK reads the text itself, and tells its callers with an error of
 * its own, which has the text, the usage and the finish reason.
 */
export function invalidResult(error: unknown): GenerateResult | undefined {
  if (!GlimpseError.is(error, "OUTPUT_INVALID")) return undefined;
  const { partial } = error;
  return partial !== undefined && "finishReason" in partial ? (partial as GenerateResult) : undefined;
}
