import { mkdir, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { showLoading } from "../../cli/loading.ts";
import { ProgressDisplay } from "../../cli/progress.ts";
import { print } from "../../cli/terminal.ts";
import { embeddedModel } from "../../orchestrator/package-root.ts";
import { type Glimpse, launch } from "../../sdk/index.ts";
import { invalid } from "../../sdk/invalid.ts";
import { ask, inFlight } from "./ask.ts";
import { checkCard, writeCard } from "./card.ts";
import { type Chance, chanceGroup, takeChances } from "./chance.ts";
import { drawnGroups, drawSamples } from "./draw.ts";
import { listFailures } from "./failures.ts";
import { judge, type Outcome } from "./judge.ts";
import { photographSamples, photographsGroup } from "./photographs.ts";
import { reportOf } from "./report.ts";
import type { Sample } from "./samples.ts";
import { showSheets } from "./show.ts";

/** What the command line says. */
export interface EvaluationOptions {
  /** Of each group. */
  samples: number;
  seed: number;
  model?: string;
  groups?: readonly string[];
  write?: true;
  failures?: true;
  /** The folder that the sheets of pictures go to. */
  show?: string;
}

/** Asks everything and prints what came of it. Throws what the command is to fail with. */
export async function evaluate(options: EvaluationOptions, signal: AbortSignal): Promise<void> {
  const { model = embeddedModel, show } = options;
  const card = join(model, "README.md");
  const display = new ProgressDisplay();
  const folder = await mkdtemp(join(tmpdir(), "glimpse-evaluation-"));
  try {
    const groups = await chooseGroups(options.groups, signal);
    // Before an hour of measuring, not after it.
    if (options.write) await checkCard(card);
    if (show !== undefined) await mkdir(show, { recursive: true });
    await using glm = await launch({ model, signal, onEvent: showLoading(display) });
    display.start("Drawing");
    const samples = await collectSamples(groups, folder, options, signal);
    const outcomes = await askAll(glm, samples, display, signal);
    const chance = groups.includes(chanceGroup) ? await askChance(glm, display, signal) : undefined;
    const report = reportOf({ outcomes, chance }, { ...options, worker: glm.workers()[0] });
    print(process.stdout, `${report}\n`);
    if (options.failures) print(process.stdout, `\n${listFailures(outcomes)}\n`);
    if (options.write) await writeCard(card, report);
    if (show !== undefined) await showSheets(show, outcomes, signal);
  } finally {
    display.clear();
    await rm(folder, { recursive: true, force: true });
  }
}

/** Those of `chosen` in the order in which there are, or all. */
async function chooseGroups(chosen: readonly string[] | undefined, signal: AbortSignal): Promise<string[]> {
  const all = [...(await drawnGroups(signal)), photographsGroup, chanceGroup];
  const unknown = chosen?.find((group) => !all.includes(group));
  if (unknown !== undefined) throw invalid("--groups", `some of ${all.join(", ")}`, unknown);
  return all.filter((group) => chosen?.includes(group) ?? true);
}

async function collectSamples(
  groups: readonly string[],
  folder: string,
  { samples, seed }: EvaluationOptions,
  signal: AbortSignal,
): Promise<Sample[]> {
  const drawn = groups.filter((group) => group !== photographsGroup && group !== chanceGroup);
  return [
    ...(await drawSamples({ folder, samples, seed, groups: drawn }, signal)),
    ...(groups.includes(photographsGroup) ? await photographSamples() : []),
  ];
}

async function askAll(
  glm: Glimpse,
  samples: readonly Sample[],
  display: ProgressDisplay,
  signal: AbortSignal,
): Promise<Outcome[]> {
  if (samples.length === 0) return [];
  const began = performance.now();
  let done = 0;
  display.start("Asking");
  const outcomes = await inFlight(samples, async (sample) => {
    const outcome = judge(sample, await ask(glm, sample, signal));
    display.update({ detail: `${++done} of ${samples.length}` });
    return outcome;
  });
  const seconds = (performance.now() - began) / 1000;
  display.finish(`${done} answers, ${(done / seconds).toFixed(1)} requests/s`);
  return outcomes;
}

async function askChance(glm: Glimpse, display: ProgressDisplay, signal: AbortSignal): Promise<Chance> {
  display.start("Asking for random numbers");
  const chance = await takeChances(glm, signal);
  display.finish("");
  return chance;
}
