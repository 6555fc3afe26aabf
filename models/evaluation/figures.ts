import type { Chance } from "./chance.ts";
import { boxGrid, type Cell, mean } from "./grid.ts";
import { goodOverlap, isRight, type Outcome } from "./judge.ts";

/** A line of the table. */
export interface Figure {
  name: string;
  /** What was counted: "17 of 20". */
  counted: string;
  value: number;
}

/** What a figure must at least be for the model to be good enough, by its name. */
export const targets: Readonly<Record<string, number>> = {
  describe: 0.98,
  count: 0.98,
  attributes: 0.98,
  "boxes: mean IoU": 0.95,
  "boxes: worst cell": 0.9,
  "read: up to 12 characters": 0.95,
  "read: 13 to 24 characters": 0.85,
  "read: pseudo-words": 0.95,
  "read: two to four lines": 0.85,
  video: 0.97,
  photographs: 1,
  "chance: bits of entropy": 3,
  "chance: same seed, same answer": 1,
};

/** In the order in which the groups first appear. */
export function byGroup(outcomes: readonly Outcome[]): Map<string, Outcome[]> {
  const groups = new Map<string, Outcome[]>();
  for (const outcome of outcomes) {
    const group = groups.get(outcome.sample.group) ?? [];
    groups.set(outcome.sample.group, group);
    group.push(outcome);
  }
  return groups;
}

/** In the order of the groups: their shares of right answers; for boxes how well they overlap. */
export function groupFigures(outcomes: readonly Outcome[]): Figure[] {
  return [...byGroup(outcomes)].flatMap(([group, members]) => {
    const right = members.filter(isRight).length;
    const counted = `${right} of ${members.length}`;
    const overlap = mean(members.flatMap(({ sample, score }) => (sample.check === "box" ? score : [])));
    if (overlap === undefined) return { name: group, counted, value: right / members.length };
    const whole = { name: `${group}: mean IoU`, counted: `${counted} above ${goodOverlap}`, value: overlap };
    return [whole, ...cellFigures(group, boxGrid(members))];
  });
}

/** The worst cell that has samples; none without any. */
function cellFigures(group: string, grid: readonly Cell[][]): Figure[] {
  const cells = grid.flat();
  const means = cells.flatMap(({ meanIou }) => meanIou ?? []);
  if (means.length === 0) return [];
  const counted = `${means.length} of ${cells.length} cells seen`;
  return [{ name: `${group}: worst cell`, counted, value: Math.min(...means) }];
}

export function chanceFigures({ answers, kinds, entropy, same }: Chance): Figure[] {
  return [
    { name: "chance: bits of entropy", counted: `${kinds} different in ${answers}`, value: entropy },
    { name: "chance: same seed, same answer", counted: `${same} of ${answers}`, value: same / answers },
  ];
}

export function figureRows(figures: readonly Figure[]): string[][] {
  const rows = figures.map(({ name, counted, value }) => {
    const target = targets[name];
    const verdict = target === undefined ? ["–", "–"] : [String(target), value >= target ? "reached" : "missed"];
    return [name, counted, value.toFixed(3), ...verdict];
  });
  return [["", "right", "value", "target", ""], ...rows];
}
