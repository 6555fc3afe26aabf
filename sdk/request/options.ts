import { z } from "zod";
import type { WireOptions } from "../../protocol/messages.ts";
import { invalid } from "../invalid.ts";
import { type Preset, presetNames, presets } from "./presets.ts";

/**
 * How to generate. The names are transformers' in camelCase. What is absent comes from the checkpoint's
 * generation_config; a field that is `undefined` counts as absent.
 */
export interface GenerateOptions {
  /**
   * Settings that the model's authors publish: `chat`, `benchmark` or `gui-agent`. Options beside it come before it.
   * Default: none, which is the checkpoint's generation_config.
   */
  preset?: Preset | undefined;
  /** The most tokens to generate, thinking included. Default 8192; always cut to the context that the prompt leaves. */
  maxNewTokens?: number | undefined;
  /**
   * The most tokens of thinking between `<think>` and `</think>`. When they are used up the engine writes
   * `</think><answer>` itself and the answer follows. 0 starts the answer at once: `<think></think><answer>` is written
   * before the first token. The written tokens count as generated. Default: no bound of its own. Refused by the
   * reference engine.
   */
  maxThinkingTokens?: number | undefined;
  /** 0 to 100. 0 is greedy, always the most probable token, and so is anything below 1e-5. */
  temperature?: number | undefined;
  /** Sample from the most probable tokens whose probabilities add up to this much: above 0, at most 1. */
  topP?: number | undefined;
  /** Sample from this many most probable tokens. */
  topK?: number | undefined;
  /** 0.01 to 100. Above 1 makes tokens that have occurred less probable, as transformers' repetition_penalty does. */
  repetitionPenalty?: number | undefined;
  /**
   * 0 to 4294967295. Default: drawn, and reported. The same request with the same seed gives the same tokens in float32,
   * with the paged engine whatever else runs beside it. In bfloat16 on a GPU two tokens may tie, and rounding, which
   * differs from run to run and with what runs beside it, decides. The two engines draw differently.
   */
  seed?: number | undefined;
  /** The answer ends before any of these texts. They are not looked for in the thinking. */
  stop?: string | readonly string[] | undefined;
  /** Milliseconds from the call to the end of the answer; then the request fails as TIMEOUT, with `partial`. Default: none. */
  timeoutMs?: number | undefined;
  /** Milliseconds until a worker has it; then the request fails as TIMEOUT. Default: none. */
  queueTimeoutMs?: number | undefined;
  /** Ends the request with the error ABORTED, whose `cause` is the signal's reason. */
  signal?: AbortSignal | undefined;
}

type Shape = { [Name in keyof GenerateOptions]-?: z.ZodType<NonNullable<GenerateOptions[Name]>> };

/** What a timer of Node can count to. */
const MAX_TIMEOUT_MS = 2 ** 31 - 1;
const TIMEOUT = `a whole number of milliseconds from 1 to ${MAX_TIMEOUT_MS}`;

/** Each description is what the error message says was expected. */
const shape = {
  preset: z.enum(presetNames).describe(presetNames.map((name) => `"${name}"`).join(", ")),
  maxNewTokens: z.int().min(1).describe("a whole number of at least 1"),
  maxThinkingTokens: z.int().min(0).describe("a whole number of at least 0"),
  temperature: z.number().min(0).max(100).describe("a number from 0 to 100"),
  topP: z.number().gt(0).max(1).describe("a number above 0 and at most 1"),
  topK: z.int().min(1).describe("a whole number of at least 1"),
  repetitionPenalty: z.number().min(0.01).max(100).describe("a number from 0.01 to 100"),
  seed: z.int().min(0).max(0xffff_ffff).describe("a whole number from 0 to 4294967295"),
  stop: z
    .union([z.string().min(1), z.array(z.string().min(1))])
    .describe("a string or an array of strings, none of them empty"),
  timeoutMs: z.int().min(1).max(MAX_TIMEOUT_MS).describe(TIMEOUT),
  queueTimeoutMs: z.int().min(1).max(MAX_TIMEOUT_MS).describe(TIMEOUT),
  signal: z.instanceof(AbortSignal).describe("an AbortSignal"),
} satisfies Shape;

const optionsSchema = z.object(shape).partial();

export const optionNames = Object.keys(shape);

export interface ParsedOptions {
  /** What goes to the worker; the seed may have to be drawn still. */
  wire: Omit<WireOptions, "seed"> & { seed?: number | undefined };
  timeoutMs: number | undefined;
  queueTimeoutMs: number | undefined;
}

/** Checks the options among the fields of `input`; the other fields are not its subject. */
export function parseOptions(input: Record<string, unknown>): ParsedOptions {
  const parsed = optionsSchema.safeParse(input);
  if (!parsed.success) {
    const name = String(parsed.error.issues[0]?.path[0]) as keyof Shape;
    throw invalid(name, shape[name].description ?? "another value", input[name]);
  }
  const { preset, stop, signal: _, timeoutMs, queueTimeoutMs, ...rest } = parsed.data;
  const stops = typeof stop === "string" ? [stop] : (stop ?? []);
  const given = Object.fromEntries(Object.entries(rest).filter(([, value]) => value !== undefined));
  const wire = { ...(preset && presets[preset]), ...given };
  return { wire: stops.length > 0 ? { ...wire, stop: stops } : wire, timeoutMs, queueTimeoutMs };
}
