import { InvalidArgumentError } from "commander";

/** What every command takes that loads a model; names and meanings are those of `launch()`. */
export interface EngineOptions {
  engine?: "paged" | "reference";
  kvCacheMemoryBytes?: number;
}

/** What `glimpse describe` takes; names and meanings are those of `launch()` and `generate()`. */
export interface DescribeOptions extends EngineOptions {
  prompt: string;
  model?: string;
  revision?: string;
  device?: string;
  dtype?: "auto" | "float32" | "bfloat16" | "float16";
  python?: string;
  allowHost?: string[];
  maxNewTokens?: number;
  maxThinkingTokens?: number;
  temperature?: number;
  topP?: number;
  topK?: number;
  repetitionPenalty?: number;
  seed?: number;
  stop?: string[];
  json?: boolean;
}

export function integer(text: string): number {
  if (!/^\d+$/.test(text)) throw new InvalidArgumentError("Expected a whole number.");
  return Number(text);
}

export function decimal(text: string): number {
  if (!/^\d*\.?\d+$/.test(text)) throw new InvalidArgumentError("Expected a number, such as 0.7.");
  return Number(text);
}

/** For options that may be given several times. */
export function collect(text: string, earlier: string[] = []): string[] {
  return [...earlier, text];
}
