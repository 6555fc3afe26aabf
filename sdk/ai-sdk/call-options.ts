import { type LanguageModelV3CallOptions, type SharedV3Warning, UnsupportedFunctionalityError } from "@ai-sdk/provider";
import type { JsonSchema } from "../output/schema.ts";
import type { AnyInput } from "../request/input.ts";
import { type Preset, presets } from "../request/presets.ts";
import { toMessages } from "./prompt.ts";
import { ownCallOptions } from "./provider-options.ts";

/** What a model of specification v3 is called with; `ai` 7 passes it its option `reasoning`, which v3 has no name for. */
export type CallOptions = LanguageModelV3CallOptions & { reasoning?: string };

export interface Call {
  input: AnyInput;
  /** What was asked for and has no effect. */
  warnings: SharedV3Warning[];
}

export function toCall(options: CallOptions): Call {
  refuseForcedTools(options);
  const warnings = warningsOf(options);
  const own = ownCallOptions(options.providerOptions);
  const { maxOutputTokens, temperature, topP, topK, seed, abortSignal, stopSequences, responseFormat } = options;
  const request = {
    messages: toMessages(options.prompt),
    maxNewTokens: maxOutputTokens,
    temperature,
    topP,
    topK,
    seed,
    signal: abortSignal,
    maxThinkingTokens: thinkingTokens(options, own.preset),
    ...own,
  };
  // Without a schema any JSON will do, which is what the empty one says.
  if (responseFormat?.type === "json") return { input: { ...request, output: schemaOf(responseFormat) }, warnings };
  return { input: stopSequences?.length ? { ...request, stop: stopSequences } : request, warnings };
}

function schemaOf({ schema = {} }: { schema?: object | undefined }): JsonSchema {
  return { ...schema };
}

function warningsOf(options: CallOptions): SharedV3Warning[] {
  const { presencePenalty, frequencyPenalty, tools, responseFormat, stopSequences, reasoning } = options;
  const json = responseFormat?.type === "json" ? responseFormat : undefined;
  const penalty = "providerOptions.glimpse.repetitionPenalty is what the model's authors use.";
  const unshown = "The model is not shown the schema, but held to it: say it in the prompt.";
  const features: [feature: string, given: boolean, details: string][] = [
    ["presencePenalty", Boolean(presencePenalty), penalty],
    ["frequencyPenalty", Boolean(frequencyPenalty), penalty],
    ["tools", Boolean(tools?.length), "GLM-4.1V was not trained to call tools; it answers without them."],
    ["stopSequences", json !== undefined && Boolean(stopSequences?.length), "JSON ends by itself."],
    ["responseFormat.name", json?.name !== undefined, unshown],
    ["responseFormat.description", json?.description !== undefined, unshown],
    ["reasoning", !knowsReasoning(reasoning), `There is no level ${JSON.stringify(reasoning)}.`],
  ];
  return features
    .filter(([, given]) => given)
    .map(([feature, , details]) => ({ type: "unsupported", feature, details }));
}

/** An answer without a call would not be what was asked for. */
function refuseForcedTools({ toolChoice }: CallOptions): void {
  if (toolChoice?.type !== "required" && toolChoice?.type !== "tool") return;
  throw new UnsupportedFunctionalityError({
    functionality: "tool calls",
    message: `toolChoice: GLM-4.1V was not trained to call tools, so it cannot be made to (${JSON.stringify(toolChoice.type)})`,
  });
}

/** Shares of the tokens of an answer, as `mapReasoningToProviderBudget` of @ai-sdk/provider-utils has them. */
const thinkingShares: ReadonlyMap<string, number> = new Map([
  ["none", 0],
  ["minimal", 0.02],
  ["low", 0.1],
  ["medium", 0.3],
  ["high", 0.6],
  ["xhigh", 0.9],
  ["max", 0.95],
]);

/** What an answer has when neither the call nor a preset says: GenerateOptions.maxNewTokens. */
const DEFAULT_TOKENS = 8192;

function knowsReasoning(reasoning: string | undefined): boolean {
  return reasoning === undefined || reasoning === "provider-default" || thinkingShares.has(reasoning);
}

function thinkingTokens(options: CallOptions, preset: Preset | undefined): number | undefined {
  const share = thinkingShares.get(options.reasoning ?? "");
  if (share === undefined) return undefined;
  // What is no preset is refused with the other options.
  const { maxNewTokens = DEFAULT_TOKENS } = (preset && presets[preset]) ?? {};
  return Math.round(share * (options.maxOutputTokens ?? maxNewTokens));
}
