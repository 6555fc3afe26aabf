import type { WireOptions } from "../../protocol/messages.ts";

/**
 * Settings that the authors of GLM-4.1V publish beside the checkpoint's own generation_config, which is what holds
 * without a preset. Files are those of https://github.com/zai-org/GLM-V.
 */
export const presets = {
  /** inference/trans_infer_cli.py, their program for conversations: greedy, with a penalty for repeating. */
  chat: { temperature: 1, topP: 0.00001, topK: 1, repetitionPenalty: 1.1, maxNewTokens: 8192 },
  /** inference/trans_infer_bench.py, for reproducing their figures: at most 8192 tokens of thinking, then 8192 more. */
  benchmark: { temperature: 0.1, maxThinkingTokens: 8192, maxNewTokens: 16_384 },
  /** examples/gui-agent/glm-41v, for steering a screen: all but greedy. */
  "gui-agent": { temperature: 0.001, maxNewTokens: 8192 },
} as const satisfies Record<string, Partial<WireOptions>>;

/** The name of a preset: `chat`, `benchmark` or `gui-agent`. */
export type Preset = keyof typeof presets;

export const presetNames = Object.keys(presets) as [Preset, ...Preset[]];
