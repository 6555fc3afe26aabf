import { cpus } from "node:os";

/** One thing that was measured: the median of some repetitions, and their extremes. */
export interface Row {
  name: string;
  middle: number;
  low: number;
  high: number;
  unit: string;
  target?: Target | undefined;
}

export type Target = { most: number } | { least: number };

/** The smallest value that `percent` of them do not exceed. */
export function percentile(values: readonly number[], percent: number): number {
  const ordered = [...values].sort((one, other) => one - other);
  const found = ordered[Math.min(ordered.length - 1, Math.floor((ordered.length * percent) / 100))];
  if (found === undefined) throw new Error("there is nothing to take a percentile of");
  return found;
}

export function median(values: readonly number[]): number {
  return (
    (percentile(values, 50) -
      percentile(
        values.map((value) => -value),
        50,
      )) /
    2
  );
}

export function row(name: string, values: readonly number[], unit: string, target?: Target): Row {
  return { name, middle: median(values), low: Math.min(...values), high: Math.max(...values), unit, target };
}

/** The quotient of the medians, and the extremes of the quotients of what was measured one after the other. */
export function ratio(name: string, ours: readonly number[], others: readonly number[], target?: Target): Row {
  const each = ours.map((value, index) => value / (others[index] ?? Number.NaN));
  return { ...row(name, each, "×", target), middle: median(ours) / median(others) };
}

export function print(title: string, rows: readonly Row[]): void {
  const cells = (name: string, ...others: string[]) =>
    name.padEnd(64) + others.map((it) => ` ${it.padStart(9)}`).join("");
  console.log(`\n${title}\n${cells("", "median", "lowest", "highest", "", "target")}`);
  for (const { name, middle, low, high, unit, target } of rows) {
    console.log(cells(name, number(middle), number(low), number(high), unit, verdict(middle, target)));
  }
  console.log(`Node ${process.version}, ${cpus().length} cores of ${cpus()[0]?.model}`);
}

function verdict(value: number, target: Target | undefined): string {
  if (target === undefined) return "";
  if ("most" in target) return `≤ ${target.most} ${value <= target.most ? "ok" : "MISSED"}`;
  return `≥ ${target.least} ${value >= target.least ? "ok" : "MISSED"}`;
}

function number(value: number): string {
  return Math.abs(value) >= 1000 ? Math.round(value).toLocaleString("en") : value.toPrecision(3);
}
