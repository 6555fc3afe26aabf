import { InvalidArgumentError } from "commander";

/** What `glimpse describe` takes; names and meanings are those of `launch()` and `generate()`. */
export interface DescribeOptions {
  prompt: string;
  model?: string;
  revision?: string;
  device?: string;
  dtype?: "auto" | "float32" | "bfloat16" | "float16";
  python?: string;
  allowHost?: string[];
  maxNewTokens?: number;
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
