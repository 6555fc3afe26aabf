// Held-out samples as `python -m models.training.held_out` writes them: a line of JSON each, their pictures beside them.
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { z } from "zod";

const fields = {
  group: z.string(),
  question: z.string(),
  answer: z.string(),
  images: z.array(z.string()),
  video: z.strictObject({ frames: z.array(z.string()).min(1), fps: z.number().positive() }).nullable(),
};
const fact = z.union([z.string(), z.number()]);
const facts = z.record(z.string(), fact);

const drawnSchema = z.discriminatedUnion("check", [
  z.strictObject({ ...fields, facts, check: z.enum(["exact", "json"]) }),
  z.strictObject({
    ...fields,
    check: z.literal("box"),
    /** Left, top, right, bottom in pixels of the picture. */
    box: z.tuple([z.number(), z.number(), z.number(), z.number()]),
    facts: z.object({ width: z.number(), height: z.number() }).catchall(fact),
  }),
]);

type Drawn = z.infer<typeof drawnSchema>;
type Modest = Omit<Extract<Drawn, { check: "exact" | "json" }>, "check"> & { check: "modest" };

/** One question, and what is right. To a `modest` one any sentence is right that says no more than is so. */
export type Sample = Drawn | Modest;

/** The samples of a folder, with the paths of their pictures. Throws with the line that holds none. */
export async function readSamples(folder: string): Promise<Sample[]> {
  const lines = (await readFile(join(folder, "samples.jsonl"), "utf8")).trimEnd().split("\n");
  return lines.map((line, index) => parseSample(line, folder, `samples.jsonl:${index + 1}`));
}

/** `place` says in messages where the line stands. */
export function parseSample(line: string, folder: string, place: string): Sample {
  const parsed = drawnSchema.safeParse(JSON.parse(line));
  if (!parsed.success) throw new Error(`${place}: expected a sample, got ${line}: ${z.prettifyError(parsed.error)}`);
  const { images, video } = parsed.data;
  const path = (name: string) => join(folder, name);
  return { ...parsed.data, images: images.map(path), video: video && { ...video, frames: video.frames.map(path) } };
}

/** The pictures in order: those of the question, or the frames of its video. */
export function picturesOf({ images, video }: Sample): readonly string[] {
  return video?.frames ?? images;
}

/** The answer as a result's `text` would have it: without the tokens around a box. */
export function expectedText({ answer }: Sample): string {
  return answer.replaceAll(/<\|.*?\|>/g, "");
}
