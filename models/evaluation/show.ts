import { rm } from "node:fs/promises";
import { resolve } from "node:path";
import { byGroup } from "./figures.ts";
import { isRight, type Outcome } from "./judge.ts";
import { runPython } from "./python.ts";
import { expectedText, picturesOf } from "./samples.ts";

/** What `show.py` makes a tile of. */
export interface Tile {
  group: string;
  pictures: readonly string[];
  question: string;
  expected: string;
  given: string;
  right: boolean;
  /** Left, top, right, bottom in pixels of the picture. */
  expectedBoxes: readonly (readonly number[])[];
  givenBoxes: readonly (readonly number[])[];
}

/** Writes `right.png` and `wrong.png` into `folder`: of each group with pictures the first answer that is so, if any. */
export async function showSheets(folder: string, outcomes: readonly Outcome[], signal: AbortSignal): Promise<void> {
  const sheets = { "right.png": tilesOf(outcomes, isRight), "wrong.png": tilesOf(outcomes, (one) => !isRight(one)) };
  for (const [name, tiles] of Object.entries(sheets)) {
    const sheet = resolve(folder, name);
    // One of an earlier run would be taken for this run's.
    if (tiles.length === 0) await rm(sheet, { force: true });
    else await runPython("models.evaluation.show", { args: [sheet], input: JSON.stringify(tiles), signal });
  }
}

export function tilesOf(outcomes: readonly Outcome[], fits: (outcome: Outcome) => boolean): Tile[] {
  const seen = outcomes.filter(({ sample }) => picturesOf(sample).length > 0);
  return [...byGroup(seen.filter(fits)).values()].flatMap(([first]) => (first === undefined ? [] : tileOf(first)));
}

function tileOf(outcome: Outcome): Tile {
  const { sample, answer } = outcome;
  return {
    group: sample.group,
    pictures: picturesOf(sample),
    question: sample.question,
    expected: expectedText(sample),
    given: answer.text,
    right: isRight(outcome),
    expectedBoxes: sample.check === "box" ? [sample.box] : [],
    givenBoxes: answer.boxes.map(({ box }) => box),
  };
}
