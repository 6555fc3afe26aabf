// A conversation about a picture, one question a line. Run it with: npx tsx examples/chat.ts [picture]
import { join } from "node:path";
import { createInterface } from "node:readline/promises";
import { launch } from "../sdk/index.ts";

const [picture = join(import.meta.dirname, "pictures", "shapes.png")] = process.argv.slice(2);

await using glm = await launch();
const chat = glm.chat({ temperature: 0 });
const lines = createInterface({ input: process.stdin, terminal: process.stdin.isTTY === true, output: process.stderr });
lines.setPrompt("> ");
lines.prompt();
let open = true;
lines.once("close", () => {
  open = false;
});
for await (const question of lines) {
  if (question.trim() !== "") await answer(question);
  if (open) lines.prompt();
}

async function answer(question: string): Promise<void> {
  // The picture belongs to the first question; the others have it in their history.
  const images = chat.messages.length === 0 ? [picture] : undefined;
  const stream = chat.send(question, { images });
  for await (const piece of stream.textStream) process.stdout.write(piece);
  const { usage } = await stream.result;
  process.stdout.write(`\n  (${usage.cachedTokens} of ${usage.promptTokens} tokens were known already)\n`);
}
