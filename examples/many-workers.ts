// Spreads requests over two workers. On a machine with GPUs leave `device` and `workers` out: each GPU gets one.
// Run it with: npx tsx examples/many-workers.ts
import { launch } from "../sdk/index.ts";

await using glm = await launch({ device: "cpu", workers: 2 });
const sums = Array.from({ length: 12 }, (_, index) => `What is ${index} + ${index + 1}?`);

const answers = new Map<string, number>();
for await (const sum of glm.batch(sums, (prompt) => ({ prompt, maxThinkingTokens: 0 }))) {
  if (!sum.ok) throw sum.error;
  const { text, worker } = sum.result;
  console.log(`${sum.item} ${text}`);
  answers.set(worker?.id ?? "none", (answers.get(worker?.id ?? "none") ?? 0) + 1);
}
for (const { id, device } of glm.workers()) console.log(`${id} on ${device?.id}: ${answers.get(id) ?? 0} answers`);
