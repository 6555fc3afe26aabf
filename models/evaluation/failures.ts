import { basename } from "node:path";
import { byGroup } from "./figures.ts";
import { isRight, type Outcome } from "./judge.ts";
import { expectedText, picturesOf } from "./samples.ts";

/** The wrong answers of each group as lines to read, with the name of the first picture, which says which sample it was. */
export function listFailures(outcomes: readonly Outcome[]): string {
  const wrong = byGroup(outcomes.filter((outcome) => !isRight(outcome)));
  return [...wrong].map(([group, members]) => [`${group}:`, ...members.map(describe)].join("\n")).join("\n\n");
}

function describe({ sample, answer, score }: Outcome): string {
  const [picture] = picturesOf(sample);
  const subject = [...(picture === undefined ? [] : [basename(picture)]), JSON.stringify(sample.question)].join(" ");
  const cut = answer.finishReason === "length" ? " (cut)" : "";
  const overlap = sample.check === "box" ? `, IoU ${score.toFixed(3)}` : "";
  const facts = Object.entries(sample.facts).map(([name, value]) => `, ${name} ${value}`);
  return `  ${subject}: ${JSON.stringify(answer.text)}${cut}, not ${JSON.stringify(expectedText(sample))}${overlap}${facts.join("")}`;
}
