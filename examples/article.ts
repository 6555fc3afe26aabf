// The transformers script of GLM-4.1V's model card, line for line. Run it with: npx tsx examples/article.ts
// `--model` and `--image` (or GLIMPSE_MODEL and GLIMPSE_IMAGE) put others in the place of the model and the picture.
import { parseArgs } from "node:util";
import { launch, type Message } from "../sdk/index.ts";

const { values } = parseArgs({ options: { model: { type: "string" }, image: { type: "string" } } });

const MODEL_PATH = values.model ?? process.env["GLIMPSE_MODEL"] ?? "THUDM/GLM-4.1V-9B-Thinking";
const url =
  values.image ??
  process.env["GLIMPSE_IMAGE"] ??
  "https://upload.wikimedia.org/wikipedia/commons/f/fa/Grayscale_8bits_palette_sample_image.png";
const messages: Message[] = [
  {
    role: "user",
    content: [
      { type: "image", url },
      { type: "text", text: "describe this image" },
    ],
  },
];
await using model = await launch({ model: MODEL_PATH });
const { raw } = await model.generate({ messages, maxNewTokens: 8192 });
console.log(raw);
