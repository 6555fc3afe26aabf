// The Vercel AI SDK (`npm install ai`, version 6 or 7) with the model as one of its own: a stream, then an object.
// Run it with: npx tsx examples/ai-sdk.ts
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { generateText, Output, streamText } from "ai";
import { z } from "zod";
import { createGlimpse, type GlimpseProviderOptions } from "../sdk/ai-sdk/index.ts"; // "glimpse/ai-sdk"
import { launch } from "../sdk/index.ts"; // "glimpse"

const picture = (name: string) => readFileSync(join(import.meta.dirname, "pictures", name));

await using glm = await launch(); // the embedded model
const glimpse = createGlimpse(glm);

const { fullStream, usage } = streamText({
  model: glimpse(),
  messages: [
    {
      role: "user",
      content: [
        { type: "image", image: picture("shapes.png") },
        { type: "text", text: "Describe this image." },
      ],
    },
  ],
  temperature: 0,
});
for await (const part of fullStream) {
  if (part.type === "reasoning-delta") process.stderr.write(part.text);
  if (part.type === "text-delta") process.stdout.write(part.text);
}
const { outputTokens, outputTokenDetails } = await usage;
process.stdout.write(`\n${outputTokens} tokens, of which ${outputTokenDetails.reasoningTokens} of thinking\n`);

const price = z.number().nonnegative().multipleOf(0.01);
const items = z.array(z.object({ name: z.string().max(30), price }));
const { output: invoice } = await generateText({
  model: glimpse(),
  messages: [
    {
      role: "user",
      content: [
        { type: "image", image: picture("invoice.png") },
        { type: "text", text: "Read this receipt. Answer as JSON." },
      ],
    },
  ],
  output: Output.object({ schema: z.object({ shop: z.string().max(40), items: items.min(1).max(20), total: price }) }),
  temperature: 0,
  providerOptions: { glimpse: { maxThinkingTokens: 0 } satisfies GlimpseProviderOptions },
});
console.log(`${invoice.items.length} items from ${invoice.shop}: ${invoice.total.toFixed(2)}`);
