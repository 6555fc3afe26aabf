import type { WorkerInfo } from "../../sdk/index.ts";
import type { Chance } from "./chance.ts";
import { chanceFigures, figureRows, groupFigures } from "./figures.ts";
import { boxGrid, gridRows } from "./grid.ts";
import type { Outcome } from "./judge.ts";

/** How the figures came about, so that they can be had again. */
export interface Circumstances {
  /** Of each group. */
  samples: number;
  seed: number;
  /** Undefined: all that there are. */
  groups?: readonly string[] | undefined;
  /** Who answered. */
  worker: Pick<WorkerInfo, "engine" | "dtype" | "device"> | undefined;
}

export interface Measured {
  outcomes: readonly Outcome[];
  /** Undefined where it was not asked for. */
  chance: Chance | undefined;
}

/** Tables in Markdown. No date, no speed: the same model gives the same text again. */
export function reportOf({ outcomes, chance }: Measured, circumstances: Circumstances): string {
  const figures = [...groupFigures(outcomes), ...(chance === undefined ? [] : chanceFigures(chance))];
  const boxes = outcomes.filter(({ sample }) => sample.check === "box");
  const bySize = "Boxes by the height and width of the picture, in pixels:";
  const grid = boxes.length === 0 ? [] : [bySize, markdownTable(gridRows(boxGrid(boxes)))];
  return [sentence(circumstances), markdownTable(figureRows(figures)), ...grid].join("\n\n");
}

function sentence({ samples, seed, groups, worker }: Circumstances): string {
  const chosen = groups === undefined ? "" : ` --groups ${JSON.stringify(groups.join(","))}`;
  const command = `npx tsx models/evaluation/evaluate.ts --samples ${samples} --seed ${seed}${chosen}`;
  const { engine, dtype, device } = worker ?? {};
  return `Measured by \`${command}\`, greedy, with engine ${engine} in ${dtype} on ${device?.kind}.`;
}

/** A table whose columns line up as plain text too. The first row holds the heads. */
export function markdownTable(rows: readonly (readonly string[])[]): string {
  const [heads = []] = rows;
  const widths = heads.map((_, column) => Math.max(3, ...rows.map((row) => row[column]?.length ?? 0)));
  const line = (cells: readonly string[]) => `| ${cells.join(" | ")} |`;
  const shown = rows.map((row) => line(widths.map((width, column) => (row[column] ?? "").padEnd(width))));
  return [shown[0], line(widths.map((width) => "-".repeat(width))), ...shown.slice(1)].join("\n");
}
