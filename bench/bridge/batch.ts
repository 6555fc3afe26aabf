import { randomBytes } from "node:crypto";
import type { Glimpse } from "../../sdk/client.ts";
import type { GenerateResult } from "../../sdk/result.ts";
import { now } from "./stamps.ts";

/** Texts of random letters: no two share a beginning that a cache could hold. */
export function newTexts(count: number, characters: number): string[] {
  return Array.from({ length: count }, () => randomBytes(characters).toString("base64").slice(0, characters));
}

/** A result, and how many seconds after the first call of its batch it was there. */
export interface Ended {
  result: GenerateResult;
  seconds: number;
}

/** All at once, each in a loop over its events. */
export function runBatch(glm: Glimpse, texts: readonly string[], maxNewTokens: number): Promise<Ended[]> {
  const begun = now();
  return Promise.all(
    texts.map(async (text) => ({
      result: await read(glm, text, maxNewTokens),
      seconds: (now() - begun) / 1e9,
    })),
  );
}

async function read(glm: Glimpse, content: string, maxNewTokens: number): Promise<GenerateResult> {
  const options = { maxNewTokens, temperature: 1, topP: 0.6 };
  for await (const event of glm.stream({ messages: [{ role: "user", content }], ...options })) {
    if (event.type === "finish") return event.result;
  }
  throw new Error("a stream ended without a result");
}

/** From the first call to the last ending. */
export function secondsOf(ended: readonly Ended[]): number {
  return Math.max(...ended.map(({ seconds }) => seconds));
}

export function tokensPerSecond(ended: readonly Ended[]): number {
  return ended.reduce((sum, { result }) => sum + result.usage.completionTokens, 0) / secondsOf(ended);
}
