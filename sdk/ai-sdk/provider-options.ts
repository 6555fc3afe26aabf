import type { SharedV3ProviderOptions } from "@ai-sdk/provider";
import { refuseUnknownKeys } from "../invalid.ts";
import type { GenerateOptions } from "../request/options.ts";

/** The key of our own among `providerOptions`. */
export const providerName = "glimpse";

/** `providerOptions.glimpse` of a call: what the AI SDK has no name for. */
export type GlimpseProviderOptions = Pick<
  GenerateOptions,
  "preset" | "maxThinkingTokens" | "repetitionPenalty" | "timeoutMs" | "queueTimeoutMs"
>;

const callOptionNames = ["preset", "maxThinkingTokens", "repetitionPenalty", "timeoutMs", "queueTimeoutMs"];

/** Ours among the options of a message, a part or a call. */
export function ownOptions(options: SharedV3ProviderOptions | undefined): Record<string, unknown> {
  return options?.[providerName] ?? {};
}

/** Those of a call; values are checked with those of the request. */
export function ownCallOptions(options: SharedV3ProviderOptions | undefined): GlimpseProviderOptions {
  const own = ownOptions(options);
  refuseUnknownKeys(own, callOptionNames, `providerOptions.${providerName}`);
  return own;
}
