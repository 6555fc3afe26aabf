import type { Glimpse } from "../../sdk/index.ts";
import { inFlight, longestAnswer } from "./ask.ts";

export const chanceGroup = "chance";

const prompt = "Name a random number.";
const seeds = Array.from({ length: 200 }, (_, seed) => seed);

/** How varied the answers are when the model may answer anything, and whether a seed settles them. */
export interface Chance {
  answers: number;
  /** Different ones. */
  kinds: number;
  /** Of the answers, in bits. */
  entropy: number;
  /** How many seeds gave the same answer when they were asked again. */
  same: number;
}

/** Asks twice with every seed, at temperature 1 and with nothing cut off. */
export async function takeChances(glm: Glimpse, signal: AbortSignal): Promise<Chance> {
  const answer = async (seed: number) =>
    (await glm.generate({ prompt, temperature: 1, topP: 1, maxNewTokens: longestAnswer, seed, signal })).text;
  const answers = await inFlight(seeds, answer);
  // Backwards, so that each has other neighbours in its batch than the first time.
  const again = await inFlight(seeds.toReversed(), answer);
  return judgeChances(answers, again.reverse());
}

export function judgeChances(answers: readonly string[], again: readonly string[]): Chance {
  return {
    answers: answers.length,
    kinds: new Set(answers).size,
    entropy: entropyOf(answers),
    same: again.filter((text, index) => text === answers[index]).length,
  };
}

/** Of the answers as often as they came: the plug-in estimate, which is rather too low than too high. */
export function entropyOf(answers: readonly string[]): number {
  const counts = new Map<string, number>();
  for (const answer of answers) counts.set(answer, (counts.get(answer) ?? 0) + 1);
  const shares = [...counts.values()].map((count) => count / answers.length);
  return shares.reduce((bits, share) => bits + share * Math.log2(1 / share), 0);
}
