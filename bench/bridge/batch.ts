import { randomBytes } from "node:crypto";
import type { Glimpse } from "../../sdk/client.ts";
import type { GenerateResult } from "../../sdk/result.ts";
import { now } from "./stamps.ts";

/** Texts of random letters: no two share a beginning that a cache could hold. */
export function newTexts(count: number, characters: number): string[] {
  return Array.from({ length: count }, () => randomBytes(characters).toString("base64").slice(0, characters));
}

/** All at once, each in a loop over its events; with the seconds from the first call to the last ending. */
export async function runBatch(
  glm: Glimpse,
  texts: readonly string[],
  maxNewTokens: number,
): Promise<{ results: GenerateResult[]; seconds: number }> {
  const begun = now();
  const results = await Promise.all(texts.map((text) => read(glm, text, maxNewTokens)));
  return { results, seconds: (now() - begun) / 1e9 };
}

async function read(glm: Glimpse, content: string, maxNewTokens: number): Promise<GenerateResult> {
  const options = { maxNewTokens, temperature: 1, topP: 0.6 };
  for await (const event of glm.stream({ messages: [{ role: "user", content }], ...options })) {
    if (event.type === "finish") return event.result;
  }
  throw new Error("a stream ended without a result");
}

export function tokensPerSecond({ results, seconds }: Awaited<ReturnType<typeof runBatch>>): number {
  return results.reduce((sum, { usage }) => sum + usage.completionTokens, 0) / seconds;
}
