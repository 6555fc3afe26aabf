// A receipt as data: the model answers in JSON, zod says what it has to be. Run it with: npx tsx examples/receipt.ts
import { join } from "node:path";
import { z } from "zod";
import { launch } from "../sdk/index.ts";

const receiptSchema = z.object({
  shop: z.string(),
  items: z.array(z.object({ name: z.string(), price: z.number() })),
  total: z.number(),
});

await using model = await launch(); // the embedded model
const { text } = await model.generate({
  prompt: "Extract the receipt as JSON with the keys shop, items and total.",
  images: [join(import.meta.dirname, "pictures", "receipt.png")],
  temperature: 0,
});

const { shop, items, total } = receiptSchema.parse(JSON.parse(text));
const line = (name: string, amount: number) => console.log(`  ${name.padEnd(10)}${amount.toFixed(2).padStart(6)}`);
console.log(shop);
for (const { name, price } of items) line(name, price);
line("total", total);

// What a model says can be checked, where there is something to check it against.
const sum = items.reduce((cents, { price }) => cents + Math.round(price * 100), 0) / 100;
if (sum !== total) console.log(`The items cost ${sum.toFixed(2)}: something was misread.`);
