import type { Device, FinishReason, Usage } from "../protocol/messages.ts";
import type { Box, PartialResult, Warning } from "../protocol/partial-result.ts";

export type { Box, PartialResult, Warning };

/** All times in milliseconds. */
export interface Timing {
  /** Waiting for the worker. */
  queueMs: number;
  /** Reading, fetching and decoding pictures, and building the prompt. */
  preprocessMs: number;
  /** From the call to the first token; undefined if there was none. */
  firstTokenMs: number | undefined;
  /** From the call to the end. */
  totalMs: number;
  /** Decoding speed after the first token; undefined for fewer than two tokens. */
  tokensPerSecond: number | undefined;
}

export interface GenerateResult extends PartialResult {
  /** `stop`: the model ended, or a stop string came; `length`: no tokens left to spend; `cancelled`: by `cancel()` or `break`. */
  finishReason: FinishReason;
  usage: Usage;
  timing: Timing;
  /** How many times another worker took the request over because the one that had it was lost; mostly 0. */
  resumed: number;
  /** Undefined only when the request was cancelled before a worker had it. */
  worker: { id: string; pid: number | undefined; device: Device | undefined } | undefined;
}

/** A result whose answer was held to a schema. */
export interface StructuredResult<Output> extends GenerateResult {
  finishReason: "stop" | "length";
  /** The answer as the schema gives it: for zod, what `parse` returns. */
  output: Output;
}

/** After `cancel()` or `break`: the answer is not complete, so there is no output. */
export interface CancelledResult extends GenerateResult {
  finishReason: "cancelled";
  output: undefined;
}

/** What there is of a value while it is written: texts, arrays and objects may go on. */
export type PartialOutput<Value> = Value extends readonly (infer Item)[]
  ? readonly PartialOutput<Item>[]
  : Value extends object
    ? { readonly [Key in keyof Value]?: PartialOutput<Value[Key]> }
    : Value;

/** The events of a request with `output`: `Input` is what its schema takes, the JSON that the model writes. */
export type StructuredEvent<Output, Input = Output> =
  | Exclude<StreamEvent, { type: "finish" }>
  /** The JSON so far. From event to event it only grows; the schema has not checked it yet. */
  | { type: "output"; partial: PartialOutput<Input> }
  | { type: "finish"; result: StructuredResult<Output> | CancelledResult };

/** A closed union: a `switch` over `type` can be exhaustive. `finish` is the last event of a stream that ends well. */
export type StreamEvent =
  /** How many requests are ahead; 0 when the worker has it. */
  | { type: "queued"; position: number }
  | { type: "thinking"; text: string }
  | { type: "text"; text: string }
  | ({ type: "box" } & Box)
  | ({ type: "warning" } & Warning)
  | { type: "finish"; result: GenerateResult };
