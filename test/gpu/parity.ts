/**
 * Loads a checkpoint from TypeScript and compares the answers with those of plain_script.py, id for id.
 *
 * node parity.js CHECKPOINT REQUESTS.json RESULTS.json DTYPE; exits with 1 when one differs. In bfloat16 the plain script
 * does not repeat itself either where its two best logits are neighbours among bfloat16 numbers: only there a difference
 * is excused, and it is printed.
 */
import { readFileSync } from "node:fs";
import { type Content, launch, type Message } from "../../sdk/index.ts";

interface PlainRequest {
  messages: { role: "user"; content: Content[] }[];
  max_new_tokens: number;
}
interface PlainAnswer {
  promptTokens: number;
  tokenIds: number[];
  raw: string;
  /** By how much the best logit led at each token: 0 is a tie, which rounding decides. */
  margins: number[];
}

/** The distance of neighbouring bfloat16 numbers between 4 and 8, where the best logits of this checkpoint lie. */
const BFLOAT16_STEP = 2 ** -5;

const [checkpoint, requestsFile, resultsFile, dtype] = process.argv.slice(2);
if (checkpoint === undefined || requestsFile === undefined || resultsFile === undefined) {
  throw new Error("usage: parity CHECKPOINT REQUESTS.json RESULTS.json float32|bfloat16");
}
if (dtype !== "float32" && dtype !== "bfloat16") throw new Error(`dtype: expected float32 or bfloat16, got ${dtype}`);
const tolerance = dtype === "bfloat16" ? BFLOAT16_STEP : 0;
const requests: PlainRequest[] = JSON.parse(readFileSync(requestsFile, "utf8"));
const expected: PlainAnswer[] = JSON.parse(readFileSync(resultsFile, "utf8"));

const launchedAt = performance.now();
await using glm = await launch({ model: checkpoint, dtype });
console.log(`ready after ${((performance.now() - launchedAt) / 1000).toFixed(1)} s`, glm.workers()[0]);

for (const [index, request] of requests.entries()) {
  const messages: Message[] = request.messages;
  const result = await glm.generate({ messages, maxNewTokens: request.max_new_tokens, temperature: 0 });
  const plain = expected[index];
  if (plain === undefined) throw new Error(`the plain script has no answer to request ${index}`);
  const verdict = compare(result.tokenIds, plain);
  console.log(
    `${dtype}, request ${index}: ${verdict}; prompt of ${result.usage.promptTokens} tokens (plain ${plain.promptTokens})`,
    JSON.stringify(result.timing),
  );
  if (verdict.startsWith("DIFFERENT") || result.usage.promptTokens !== plain.promptTokens) process.exitCode = 1;
}

function compare(tokenIds: readonly number[], plain: PlainAnswer): string {
  const at = plain.tokenIds.findIndex((id, position) => id !== tokenIds[position]);
  if (at < 0 && tokenIds.length === plain.tokenIds.length) return `the same ${tokenIds.length} ids`;
  const margin = plain.margins[at] ?? Number.POSITIVE_INFINITY;
  const where = `from token ${at}, where the two best logits are ${margin} apart`;
  return margin <= tolerance ? `excused ${where}` : `DIFFERENT ${where}`;
}
