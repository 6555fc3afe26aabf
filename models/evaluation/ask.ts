import { type GenerateInput, type GenerateResult, type Glimpse, video } from "../../sdk/index.ts";
import type { Sample } from "./samples.ts";

/** In tokens, thinking included. No right answer comes near it; a model that repeats itself for ever is stopped by it. */
export const longestAnswer = 512;

/** Requests at once: as many as a worker takes into one batch on a GPU, and more than it takes on a CPU. */
const mostInFlight = 256;

/** What an answer is judged by. */
export type Answer = Pick<GenerateResult, "text" | "boxes" | "finishReason">;

export function requestOf({ question, images, video: clip }: Sample): GenerateInput {
  const media = clip === null ? { images } : { video: video(clip) };
  return { prompt: question, ...media, temperature: 0, maxNewTokens: longestAnswer };
}

/** A request that fails ends the evaluation: every sample is well-formed, so that would be a defect, not a wrong answer. */
export async function ask(glm: Glimpse, sample: Sample, signal: AbortSignal): Promise<Answer> {
  try {
    return await glm.generate({ ...requestOf(sample), signal });
  } catch (cause) {
    const got = cause instanceof Error ? cause.message : String(cause);
    throw new Error(`${sample.group}: ${JSON.stringify(sample.question)} must get an answer, got: ${got}`, { cause });
  }
}

/** Does `work` for every item, some at a time; resolves to the results in the order of the items. */
export async function inFlight<Item, Result>(
  items: readonly Item[],
  work: (item: Item) => Promise<Result>,
  most = mostInFlight,
): Promise<Result[]> {
  const results = new Array<Result>(items.length);
  // One iterator for all lanes: each takes the next item as soon as its last one is done.
  const entries = items.entries();
  const lane = async () => {
    for (const [index, item] of entries) results[index] = await work(item);
  };
  await Promise.all(Array.from({ length: most }, lane));
  return results;
}
