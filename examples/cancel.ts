// Three ways to stop: leaving the loop, cancel(), and a signal. Each frees the worker within a step of the engine.
// Run it with: npx tsx examples/cancel.ts
import { GlimpseError, launch } from "../sdk/index.ts";

await using glm = await launch();
const prompt = "Count to fifty.";

const left = glm.stream({ prompt });
for await (const piece of left.textStream) if (piece.includes(",")) break;
console.log(`left the loop: ${(await left.result).finishReason}`);

const cancelled = glm.stream({ prompt });
for await (const event of cancelled) if (event.type === "text") cancelled.cancel();
const { finishReason, usage } = await cancelled.result;
console.log(`cancel(): ${finishReason} after ${usage.completionTokens} tokens`);

const controller = new AbortController();
try {
  const stream = glm.stream({ prompt, signal: controller.signal });
  for await (const event of stream) if (event.type === "text") controller.abort();
} catch (error) {
  if (!GlimpseError.is(error, "ABORTED")) throw error;
  console.log(`a signal: ${error.code}, with what there was of the answer`);
}
