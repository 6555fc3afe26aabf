/**
 * Loads a checkpoint from TypeScript and compares the answers with those of plain_script.py, id for id.
 * node parity.js CHECKPOINT REQUESTS.json RESULTS.json; exits with 1 when one differs.
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

const [checkpoint, requestsFile, resultsFile] = process.argv.slice(2);
if (checkpoint === undefined || requestsFile === undefined || resultsFile === undefined) {
  throw new Error("usage: parity CHECKPOINT REQUESTS.json RESULTS.json");
}
const requests: PlainRequest[] = JSON.parse(readFileSync(requestsFile, "utf8"));
const expected: PlainAnswer[] = JSON.parse(readFileSync(resultsFile, "utf8"));

const launchedAt = performance.now();
await using glm = await launch({ model: checkpoint });
console.log(`ready after ${((performance.now() - launchedAt) / 1000).toFixed(1)} s`, glm.workers()[0]);

for (const [index, request] of requests.entries()) {
  const messages: Message[] = request.messages;
  const result = await glm.generate({ messages, maxNewTokens: request.max_new_tokens, temperature: 0 });
  const plain = expected[index];
  const same = JSON.stringify(result.tokenIds) === JSON.stringify(plain?.tokenIds) && result.raw === plain?.raw;
  const shared = result.tokenIds.findIndex((id, position) => id !== plain?.tokenIds[position]);
  console.log(
    `request ${index}: ${same ? "same" : `DIFFERENT from token ${shared}, where the margin is ${plain?.margins[shared]}`}`,
    `${result.tokenIds.length} ids, prompt ${result.usage.promptTokens} (plain ${plain?.promptTokens})`,
    result.warnings.map((warning) => warning.code).join(" "),
    JSON.stringify(result.timing),
  );
  if (!same) process.exitCode = 1;
}
