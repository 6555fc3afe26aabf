import { InvalidArgumentError } from "commander";
import type { TorchBuild } from "../orchestrator/python/torch-build.ts";

/** What every command takes that loads a model; names and meanings are those of `launch()`. */
export interface EngineOptions {
  engine?: "paged" | "reference";
  kvCacheMemoryBytes?: number;
}

/** Which background orchestrator a command is about. */
export interface NameOption {
  name: string;
}

/** What `glimpse up` takes; names and meanings are those of `launch()`. */
export interface UpOptions extends EngineOptions, NameOption {
  model?: string;
  revision?: string;
  device?: string;
  dtype?: "auto" | "float32" | "bfloat16" | "float16";
  python?: string;
  workers?: "auto" | number | string[];
  gpusPerWorker?: number;
  onWorkerLoss?: "resume" | "restart" | "fail";
  queueLimit?: number;
  /** 0: never. */
  idleMinutes: number;
}

export interface DownOptions extends NameOption {
  now?: boolean;
}

export interface SetupOptions {
  torch?: TorchBuild;
}

export interface WorkersOptions extends NameOption {
  json?: boolean;
}

/** What `glimpse describe` takes; names and meanings are those of `launch()` and `generate()`. */
export interface DescribeOptions extends EngineOptions {
  /** Default: one for each kind of medium. */
  prompt?: string;
  /** Of `image()`, `video()` and `pdf()`. */
  maxPixels?: number;
  fps?: number;
  maxFrames?: number;
  pages?: string;
  dpi?: number;
  model?: string;
  revision?: string;
  device?: string;
  dtype?: "auto" | "float32" | "bfloat16" | "float16";
  python?: string;
  /** Use the background orchestrator, and this one of them. */
  connect?: boolean;
  name?: string;
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

/** How many workers, or on which devices. */
export function placement(text: string): "auto" | number | string[] {
  if (text === "auto") return text;
  return /^\d+$/.test(text) ? Number(text) : text.split(",").map((device) => device.trim());
}

/** For options that may be given several times. */
export function collect(text: string, earlier: string[] = []): string[] {
  return [...earlier, text];
}
