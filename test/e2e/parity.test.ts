import { execFileSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { workerSource } from "../../orchestrator/package-root.ts";
import { resolvePython } from "../../orchestrator/python/resolve.ts";
import { type Content, type GenerateInput, type Glimpse, launch, type Message, video } from "../../sdk/index.ts";
import { drawPictures } from "./pictures.ts";

/** A conversation as both sides need it: `{}` in a turn stands for the next of `images`, or for the video. */
interface Conversation {
  turns: readonly [role: Message["role"], ...content: readonly (string | object)[]][];
  images?: readonly string[];
  frames?: readonly string[];
  fps?: number;
}

const MEDIUM = {};
const ask = (question: string, ...images: string[]): Conversation => ({
  turns: [["user", ...images.map(() => MEDIUM), question]],
  images,
});
const watch = (question: string, frames: number[], fps: number): Conversation => ({
  turns: [["user", MEDIUM, question]],
  frames: frames.map((index) => `frame${index}.png`),
  fps,
});

/** No picture here needs a resize: the script resizes with Pillow, which differs from torch by up to 2 of 255 levels. */
const conversations: Record<string, Conversation> = {
  "a circle described": ask("Describe this image.", "circle.png"),
  "shapes described": ask("Describe this image.", "shapes.png"),
  "shapes counted": ask("How many shapes are there?", "shapes.png"),
  "a box": ask("Where is the blue square?", "shapes.png"),
  "a box that is not there": ask("Where is the green star?", "shapes.png"),
  "a colour": ask("What colour is the square?", "shapes.png"),
  "yes or no": ask("Is there a red star?", "shapes.png"),
  "a word": ask("Read the text in this image.", "glimpse.png"),
  "a word and a number": ask("What does it say?", "exit.png"),
  "one colour": ask("What color is this image?", "blue.png"),
  "an unseen wording": ask("Give a list of the things in the photo", "circle.png"),
  "the text before the picture": { turns: [["user", "Describe this image.", MEDIUM]], images: ["shapes.png"] },
  "two pictures": ask("Describe each image.", "small.png", "yellow.png"),
  "the second of two": ask("Read the text in the second image.", "circle.png", "glimpse.png"),
  "three pictures": ask("Describe each image.", "yellow.png", "small.png", "blue.png"),
  "a video": watch("What happens in this video?", [0, 1, 2, 3, 4, 5, 6, 7], 2),
  "a video backwards": watch("What happens in this video?", [7, 6, 5, 4, 3, 2, 1, 0], 2.5),
  "a video of odd length": watch("Describe this video.", [0, 1, 2, 3, 4], 1),
  "text only": { turns: [["user", "What is 7 + 8?"]] },
  "text in other scripts": { turns: [["user", "Repeat the word 猫 🙂."]] },
  "white space at the borders": { turns: [["user", "\n\n  Say banana  \n"]] },
  "a system prompt": {
    turns: [
      ["system", "You are a helpful assistant."],
      ["user", MEDIUM, "How many shapes are there?"],
    ],
    images: ["shapes.png"],
  },
  "two turns": {
    turns: [
      ["user", MEDIUM, "Describe this image."],
      ["assistant", "A blue square and a green triangle on a white background."],
      ["user", "Where is the blue square?"],
    ],
    images: ["shapes.png"],
  },
  "two turns with a picture each": {
    turns: [
      ["user", MEDIUM, "Describe this image."],
      ["assistant", "A red circle on a white background."],
      ["user", MEDIUM, "Read the text in the second image."],
    ],
    images: ["circle.png", "glimpse.png"],
  },
};

const MAX_NEW_TOKENS = 64;

let picture: (name: string) => string;
let expected: { ids: number[]; text: string }[];

beforeAll(async () => {
  picture = await drawPictures();
  const requests = Object.values(conversations).map(forTheScript);
  const [input, output] = [picture("requests.json"), picture("results.json")];
  writeFileSync(input, JSON.stringify(requests));
  execFileSync(await resolvePython(), [join(workerSource, "tests", "plain_script.py"), input, output], {
    stdio: ["ignore", "inherit", "ignore"],
  });
  expected = JSON.parse(readFileSync(output, "utf8"));
});

function forTheScript({ turns, images, frames, fps }: Conversation) {
  const medium = { type: frames === undefined ? "image" : "video" };
  return {
    messages: turns.map(([role, ...content]) => ({
      role,
      content: content.map((item) => (typeof item === "string" ? { type: "text", text: item } : medium)),
    })),
    images: images?.map(picture) ?? [],
    ...(frames && { video: { frames: frames.map(picture), fps } }),
    max_new_tokens: MAX_NEW_TOKENS,
  };
}

function forTheSdk({ turns, images = [], frames, fps = 1 }: Conversation): GenerateInput {
  const paths = images.map(picture).values();
  const medium = (): Content =>
    frames === undefined
      ? { type: "image", url: paths.next().value as string }
      : { type: "video", video: video({ frames: frames.map(picture), fps }) };
  const messages = turns.map(([role, ...content]) => ({
    role,
    content: content.map((item): Content => (typeof item === "string" ? { type: "text", text: item } : medium())),
  }));
  return { messages, maxNewTokens: MAX_NEW_TOKENS, temperature: 0 };
}

describe.each(["paged", "reference"] as const)(
  "a plain transformers script and the engine %s give the same ids for",
  (engine) => {
    let glm: Glimpse;
    beforeAll(async () => {
      glm = await launch({ engine, dtype: "float32" });
    });
    afterAll(async () => {
      await glm.close();
    });

    test.each(Object.entries(conversations).map(([name, conversation], index) => [name, conversation, index] as const))(
      "%s",
      async (_, conversation, index) => {
        const { tokenIds, raw } = await glm.generate(forTheSdk(conversation));
        expect(tokenIds.length).toBeGreaterThan(2);
        expect({ tokenIds, raw }).toEqual({ tokenIds: expected[index]?.ids, raw: expected[index]?.text });
      },
    );
  },
);
