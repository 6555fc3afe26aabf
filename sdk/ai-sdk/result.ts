import type {
  JSONObject,
  LanguageModelV3Content,
  LanguageModelV3FinishReason,
  LanguageModelV3Usage,
  SharedV3ProviderMetadata,
  SharedV3Warning,
} from "@ai-sdk/provider";
import type { FinishReason, Usage } from "../../protocol/messages.ts";
import type { GenerateResult, Warning } from "../result.ts";
import { providerName } from "./provider-options.ts";

export function toContent({ thinking, text }: GenerateResult): LanguageModelV3Content[] {
  const parts: LanguageModelV3Content[] = [
    { type: "reasoning", text: thinking },
    { type: "text", text },
  ];
  return parts.filter((part) => "text" in part && part.text !== "");
}

export function toFinishReason(reason: FinishReason): LanguageModelV3FinishReason {
  return { unified: reason === "cancelled" ? "other" : reason, raw: reason };
}

export function toUsage(usage: Usage): LanguageModelV3Usage {
  const { promptTokens, cachedTokens, completionTokens, thinkingTokens } = usage;
  return {
    inputTokens: {
      total: promptTokens,
      noCache: promptTokens - cachedTokens,
      cacheRead: cachedTokens,
      // What is written to the cache costs nothing, so nobody counts it.
      cacheWrite: undefined,
    },
    outputTokens: {
      total: completionTokens,
      text: completionTokens - thinkingTokens,
      reasoning: thinkingTokens,
    },
    raw: { ...usage },
  };
}

export const unknownUsage: LanguageModelV3Usage = {
  inputTokens: { total: undefined, noCache: undefined, cacheRead: undefined, cacheWrite: undefined },
  outputTokens: { total: undefined, text: undefined, reasoning: undefined },
};

/** What the AI SDK has no place for: boxes, in pixels, above all. */
export function toMetadata(result: GenerateResult): SharedV3ProviderMetadata {
  const { requestId, seed, boxes, timing, resumed, worker, warnings } = result;
  const metadata: JSONObject = {
    requestId,
    seed,
    boxes: boxes.map((box) => ({ ...box, box: [...box.box] })),
    timing: { ...timing },
    resumed,
    worker: worker === undefined ? null : { ...worker },
    warnings: warnings.map((warning) => ({ ...warning })),
  };
  return { [providerName]: metadata };
}

export function toWarning({ code, message }: Warning): SharedV3Warning {
  return { type: "other", message: `${code}: ${message}` };
}
