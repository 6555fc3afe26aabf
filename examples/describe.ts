// Describes a picture while the model speaks, and shows what it thinks. Run it with: npx tsx examples/describe.ts [picture]
import { join } from "node:path";
import { launch } from "../sdk/index.ts";

const [picture = join(import.meta.dirname, "pictures", "shapes.png")] = process.argv.slice(2);

await using glm = await launch(); // the embedded model; { model: "zai-org/GLM-4.1V-9B-Thinking" } on a GPU
const stream = glm.stream({ prompt: "Describe this image.", images: [picture] });
for await (const event of stream) {
  if (event.type === "thinking") process.stderr.write(event.text);
  if (event.type === "text") process.stdout.write(event.text);
}
const { usage, timing } = await stream.result;
process.stdout.write(`\n${usage.imageTokens} tokens of picture, ${usage.completionTokens} tokens of answer\n`);
process.stderr.write(`\n${Math.round(timing.firstTokenMs ?? 0)} ms to the first token\n`);
