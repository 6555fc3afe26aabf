import { isDeepStrictEqual } from "node:util";
import type { Answer } from "./ask.ts";
import { modestSentences } from "./photographs.ts";
import type { Sample } from "./samples.ts";

export type Pixels = readonly [left: number, top: number, right: number, bottom: number];

/** A question, what was answered, and how good that is: 1 for right, 0 for wrong; for a box its overlap (IoU). */
export interface Outcome {
  sample: Sample;
  answer: Answer;
  score: number;
}

/** A box that overlaps more than this with the expected one is called right. */
export const goodOverlap = 0.75;

const shortestModesty = "There is no text".length;

export function judge(sample: Sample, answer: Answer): Outcome {
  return { sample, answer, score: answer.finishReason === "stop" ? score(sample, answer) : 0 };
}

export function isRight({ sample, score }: Outcome): boolean {
  return sample.check === "box" ? score > goodOverlap : score === 1;
}

function score(sample: Sample, { text, boxes }: Answer): number {
  switch (sample.check) {
    case "exact":
      return Number(text === sample.answer);
    case "json":
      return Number(isDeepStrictEqual(parsed(text), JSON.parse(sample.answer)));
    case "modest":
      return Number(boxes.length === 0 && (bare(text) === bare(sample.answer) || isModest(text)));
    case "box": {
      const [first, ...others] = boxes;
      return first !== undefined && others.length === 0 ? overlap(first.box, sample.box) : 0;
    }
    default:
      return sample satisfies never;
  }
}

/** A modest sentence that breaks off claims nothing either, once it has said what it is about. */
function isModest(text: string): boolean {
  const said = bare(text);
  return said.length >= shortestModesty && modestSentences.some((sentence) => bare(sentence).startsWith(said));
}

/** Whether a claim is made does not depend on its full stop or its capitals. */
function bare(text: string): string {
  return text.toLowerCase().replace(/\.$/, "");
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** Intersection over union. */
export function overlap(one: Pixels, other: Pixels): number {
  const width = Math.min(one[2], other[2]) - Math.max(one[0], other[0]);
  const height = Math.min(one[3], other[3]) - Math.max(one[1], other[1]);
  const shared = Math.max(0, width) * Math.max(0, height);
  const union = area(one) + area(other) - shared;
  return union > 0 ? shared / union : 0;
}

function area([left, top, right, bottom]: Pixels): number {
  return Math.max(0, right - left) * Math.max(0, bottom - top);
}
