/**
 * Tokens per second at 64 streams: through the SDK, and of the same engine called in its own process:
 *
 *     npx tsx bench/bridge/streams.ts [--model embedded|9b] [--device cpu] [--streams 64] [--new-tokens 512]
 *
 * `9b` are random weights in the shapes of GLM-4.1V-9B. It is one engine in one worker, asked in turns: the same number
 * of prompts of the same length, each of them new. No answer ends before its last token.
 */
import type { Glimpse } from "../../sdk/client.ts";
import { readArguments } from "./arguments.ts";
import { newTexts, runBatch, tokensPerSecond } from "./batch.ts";
import { print, ratio, row } from "./figures.ts";
import { startPool } from "./peers.ts";

const TARGET = { least: 0.97 };

async function inProcess(glm: Glimpse, texts: readonly string[], newTokens: number): Promise<number> {
  const content = JSON.stringify({ texts, new_tokens: newTokens });
  const { text } = await glm.generate({ messages: [{ role: "user", content }] });
  const { tokens, seconds } = JSON.parse(text);
  return tokens / seconds;
}

const { model, device, streams, characters, newTokens, repetitions } = readArguments();

await using glm = await startPool(model, { device });
const ours: number[] = [];
const theirs: number[] = [];
for (let turn = -1; turn < repetitions; turn++) {
  const one = tokensPerSecond(await runBatch(glm, newTexts(streams, characters), newTokens));
  const other = await inProcess(glm, newTexts(streams, characters), newTokens);
  // The first turn warms up: kernels are compiled when they are first used.
  if (turn < 0) continue;
  ours.push(one);
  theirs.push(other);
}
print(`${streams} streams, prompts of ${characters} characters, ${newTokens} new tokens, ${model}`, [
  row("through the SDK", ours, "tokens/s"),
  row("the engine in its own process", theirs, "tokens/s"),
  ratio("over the engine in its own process", ours, theirs, TARGET),
]);
