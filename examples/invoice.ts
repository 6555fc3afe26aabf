// An invoice as data: the answer is held to a zod schema while it is written, so it is what the type says.
// Run it with: npx tsx examples/invoice.ts
import { join } from "node:path";
import { z } from "zod";
import { GlimpseError, launch } from "../sdk/index.ts";

const price = z.number().nonnegative().multipleOf(0.01);
const invoice = z
  .object({
    shop: z.string().max(40),
    items: z
      .array(z.object({ name: z.string().max(30), price }))
      .min(1)
      .max(20),
    total: price,
  })
  // What no grammar can express is checked when the answer is there.
  .refine(({ items, total }) => cents(total) === items.reduce((sum, item) => sum + cents(item.price), 0), {
    message: "the items do not add up to the total",
    path: ["total"],
  });

const cents = (amount: number) => Math.round(100 * amount);

await using model = await launch(); // the embedded model
const stream = model.stream({
  prompt: "Read this receipt. Answer as JSON.",
  images: [join(import.meta.dirname, "pictures", "invoice.png")],
  temperature: 0,
  maxThinkingTokens: 0,
  output: invoice,
});

try {
  let read = 0;
  for await (const event of stream) {
    // The object as far as it is written: here, a line for each item whose price has been read.
    if (event.type !== "output") continue;
    for (const { name, price } of event.partial.items?.slice(read) ?? []) {
      if (price === undefined) break;
      console.log(`  ${name?.padEnd(10)}${price.toFixed(2).padStart(6)}`);
      read += 1;
    }
  }
  const { output } = await stream.result;
  if (output !== undefined) console.log(`${output.items.length} items from ${output.shop}: ${output.total.toFixed(2)}`);
} catch (error) {
  if (!GlimpseError.is(error, "OUTPUT_INVALID")) throw error;
  console.error(error.message, error.issues);
}
