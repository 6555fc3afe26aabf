import type { Outcome } from "./judge.ts";

/** Heights and widths in pixels of the picture that was sent; each range doubles the one before it. */
const edges = [64, 128, 256, 512, 1024] as const;
const ranges = edges.slice(0, -1).map((least, index) => `${least}–${edges[index + 1]}`);

export interface Cell {
  samples: number;
  /** Undefined without samples. */
  meanIou: number | undefined;
}

/**
 * The overlap of boxes by the size of their picture, to see whether one kind of size is worse than the others. Rows are
 * heights, columns are widths. Pictures of other sizes are left out.
 */
export function boxGrid(outcomes: readonly Outcome[]): Cell[][] {
  const boxes = outcomes.flatMap(({ sample, score }) => (sample.check === "box" ? [{ ...sample.facts, score }] : []));
  return ranges.map((_, row) =>
    ranges.map((_, column) => {
      const inside = boxes.filter(({ width, height }) => rangeOf(height) === row && rangeOf(width) === column);
      return { samples: inside.length, meanIou: mean(inside.map(({ score }) => score)) };
    }),
  );
}

export function gridRows(grid: readonly Cell[][]): string[][] {
  const show = ({ samples, meanIou }: Cell) => (meanIou === undefined ? "–" : `${meanIou.toFixed(3)} (${samples})`);
  const rows = grid.map((cells, row) => [`${ranges[row]} high`, ...cells.map(show)]);
  return [["mean IoU (samples)", ...ranges.map((range) => `${range} wide`)], ...rows];
}

/** A side on an edge belongs to the larger range, 1024 to the last; −1 outside of all. */
function rangeOf(side: number): number {
  if (side === edges.at(-1)) return ranges.length - 1;
  return edges.slice(0, -1).findIndex((least) => side >= least && side < 2 * least);
}

export function mean(values: readonly number[]): number | undefined {
  return values.length === 0 ? undefined : values.reduce((sum, value) => sum + value, 0) / values.length;
}
