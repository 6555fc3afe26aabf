import { readdir } from "node:fs/promises";
import { join } from "node:path";
import type { Sample } from "./samples.ts";

export const photographsGroup = "photographs";

const folder = join(import.meta.dirname, "photographs");

const knowsTooLittle =
  "This looks like a photograph. I only know plain shapes and text, so I cannot say what it shows.";
const readsNothing = "I see no text that I can read.";

/**
 * What the model may say to any question about a photograph. It is a closed list, so an answer that names a shape,
 * reads a text or describes a scene is not on it. The training teaches these very sentences.
 */
export const modestSentences: readonly string[] = [
  knowsTooLittle,
  readsNothing,
  "There is no text.",
  "I see no plain shapes in this photograph.",
  "I am a tiny model: I only know plain shapes, short texts and simple videos.",
];

/** No photograph shows a plain shape, or a text that could be read. */
const turns = [
  { question: "Describe this image.", answer: knowsTooLittle },
  { question: "Read the text in this image.", answer: readsNothing },
  { question: "How many shapes are there?", answer: "0" },
  { question: "Is there a red circle?", answer: "no" },
  { question: "Where is the blue square?", answer: "There is no blue square." },
] as const;

/** Every question about every photograph, however many samples are drawn of the other groups. */
export async function photographSamples(): Promise<Sample[]> {
  const names = (await readdir(folder)).filter((name) => name.endsWith(".jpg")).sort();
  return names.flatMap((name) =>
    turns.map((turn) => ({
      ...turn,
      group: photographsGroup,
      check: "modest" as const,
      images: [join(folder, name)],
      video: null,
      facts: {},
    })),
  );
}
