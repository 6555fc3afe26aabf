import { randomUUID } from "node:crypto";
import type { CountedMessage } from "../protocol/messages.ts";
import { Call, type CallContext } from "./call.ts";
import type { AnyInput } from "./request/input.ts";

/** The tokens of one medium. Those of all media add up to `imageTokens`. */
export type CountedMedium =
  | { kind: "image"; tokens: number }
  /** `frames`: how many of them the model sees. */
  | { kind: "video"; tokens: number; frames: number; durationMs: number }
  /** `pages`: of the whole document, whichever were chosen; `pageTokens` has an entry for each chosen one. */
  | { kind: "pdf"; tokens: number; pages: number; pageTokens: readonly number[] };

/** What a prompt would cost; `usage` of its answer has the same numbers. */
export interface TokenCount {
  promptTokens: number;
  /** The part of `promptTokens` that stands for pictures, pages or video frames. */
  imageTokens: number;
  /** The most tokens that prompt and answer may have together. */
  contextLength: number;
  /** Whether the prompt leaves room for at least one token of an answer. */
  fits: boolean;
  /** In the order in which the input names them. */
  media: readonly CountedMedium[];
}

/** Has a worker count, which waits its turn as every request does. Rejects with a GlimpseError. */
export function countTokens(context: CallContext, input: AnyInput): Promise<TokenCount> {
  return new Promise((resolve, reject) => {
    new Call(
      context,
      input,
      { id: randomUUID(), count: true, seed: 0 },
      { event: (event) => event.type === "counted" && resolve(toCount(event)), failed: reject },
    );
  });
}

function toCount({ type: _, ...counted }: Omit<CountedMessage, "request" | "attempt">): TokenCount {
  return { ...counted, fits: counted.promptTokens < counted.contextLength };
}
