import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { packageRoot } from "../../orchestrator/package-root.ts";
import type { Submission } from "../../orchestrator/transport.ts";
import type { Pool } from "./pool.ts";
import type { Question } from "./storm.ts";

const picture = await readFile(join(packageRoot, "examples", "pictures", "shapes.png"));

/** Greedy, so that every worker gives the same answer. */
const options = { seed: 1, temperature: 0, maxNewTokens: 160 };

const questions: readonly { prompt: string; picture?: Uint8Array }[] = [
  { prompt: "Describe this image.", picture },
  { prompt: "Where is the blue square?", picture },
  { prompt: "Who are you?" },
  { prompt: "Write a short story about a boat." },
  { prompt: "Count from 1 to 20." },
  { prompt: "Count from 1 to 40." },
];

/** Questions to the embedded model, with the answers that the undisturbed pool gives. */
export async function embeddedQuestions(pool: Pool): Promise<Question[]> {
  const asked = questions.map((question) => () => pool.submit(question.prompt, submission(question)));
  return learn(asked);
}

/** Scripts of different lengths and paces. */
export async function scriptedQuestions(pool: Pool): Promise<Question[]> {
  const scripts = [
    "slow 5",
    "slow 20",
    "stutter 10",
    "normal 200",
    "say <|begin_of_box|>[[1,2,30,40]]<|end_of_box|> there",
  ];
  return learn(scripts.map((script) => () => pool.play(script)));
}

/** One after the other: so an answer is known to need no company. */
async function learn(asked: readonly Question["ask"][]): Promise<Question[]> {
  const learnt: Question[] = [];
  for (const ask of asked) {
    const request = ask();
    const ending = await request.ended;
    if (ending.type !== "done") throw new Error(`${request.what} failed with nothing broken: ${ending.error.message}`);
    learnt.push({ ask, answer: request.answer });
  }
  return learnt;
}

function submission({ prompt, picture }: (typeof questions)[number]): Omit<Submission, "id"> {
  const text = { type: "text" as const, text: prompt };
  if (picture === undefined) return { messages: [{ role: "user", content: [text] }], media: [], frames: [], options };
  return {
    messages: [{ role: "user", content: [{ type: "media", index: 0 }, text] }],
    media: [{ kind: "image", bytes: picture.byteLength }],
    frames: [picture],
    options,
  };
}
