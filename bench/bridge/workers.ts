/**
 * Two workers on two GPUs beside one, and what becomes of the requests when one of the two is killed under load:
 *
 *     npx tsx bench/bridge/workers.ts [--model 9b] [--device cuda] [--streams 64] [--new-tokens 512]
 *
 * Each worker has as many streams. The pools take turns: one worker on the first GPU, two workers, one on the second. Two
 * cards are not equally fast, so what two workers are measured by is the mean of what each card does with one.
 */
import { setTimeout as delay } from "node:timers/promises";
import type { WorkerEvent } from "../../orchestrator/events.ts";
import type { Glimpse } from "../../sdk/client.ts";
import type { GenerateResult } from "../../sdk/result.ts";
import { readArguments } from "./arguments.ts";
import { type Ended, newTexts, runBatch, secondsOf, tokensPerSecond } from "./batch.ts";
import { print, ratio, row } from "./figures.ts";
import { startPool } from "./peers.ts";
import { now } from "./stamps.ts";

const TARGET = { least: 1.95 };

const { model, device: kind, streams, characters, newTokens, repetitions } = readArguments();
const what = `prompts of ${characters} characters, ${newTokens} new tokens, ${model}`;

const states: { at: number; event: WorkerEvent }[] = [];
const devices = kind === "cuda" ? ["cuda:0", "cuda:1"] : [kind, kind];
// All load at the same time.
const starting = [
  ...devices.map((device) => startPool(model, { device })),
  startPool(model, {
    device: kind,
    workers: 2,
    onEvent: (event) => states.push({ at: now(), event }),
  }),
];
const [first, second, two] = (await Promise.all(starting)) as [Glimpse, Glimpse, Glimpse];
await using _two = two;
try {
  await throughput();
} finally {
  // What they hold of the cards' memory is not what the replacement has to wait for.
  await Promise.all([first.close(), second.close()]);
}
await loss();

async function throughput(): Promise<void> {
  const alone: [number[], number[]] = [[], []];
  const both: number[] = [];
  const shares: [number[], number[]] = [[], []];
  for (let turn = -1; turn < repetitions; turn++) {
    const one = tokensPerSecond(await run(first, 1));
    const pair = await run(two, 2);
    const other = tokensPerSecond(await run(second, 1));
    // The first turn warms up: kernels are compiled when they are first used.
    if (turn < 0) continue;
    alone[0].push(one);
    alone[1].push(other);
    both.push(tokensPerSecond(pair));
    for (const [index, share] of shares.entries()) {
      share.push(tokensPerSecond(pair.filter(({ result }) => result.worker?.id === two.workers()[index]?.id)));
    }
  }
  const mean = alone[0].map((value, index) => (value + (alone[1][index] ?? Number.NaN)) / 2);
  print(`${streams} streams a worker, ${what}`, [
    row("one worker, on the first GPU", alone[0], "tokens/s"),
    row("one worker, on the second GPU", alone[1], "tokens/s"),
    row("two workers", both, "tokens/s"),
    row("the first of the two, to its own last ending", shares[0], "tokens/s"),
    row("the second of the two", shares[1], "tokens/s"),
    ratio("two over one", both, mean, TARGET),
  ]);
}

function run(glm: Glimpse, workers: number): Promise<Ended[]> {
  return runBatch(glm, newTexts(workers * streams, characters), newTokens);
}

async function loss(): Promise<void> {
  const undisturbed = secondsOf(await run(two, 2));
  const victim = two.workers()[1];
  if (victim?.pid === undefined) throw new Error("the second worker has no process");
  const running = run(two, 2);
  // In the middle of the answers.
  await delay(500 * undisturbed);
  const killed = now();
  process.kill(victim.pid, "SIGKILL");
  const ended = await running;
  const incomplete = ended.filter(({ result }) => !isComplete(result)).length;
  const resumed = ended.filter(({ result }) => result.resumed > 0).length;
  const serves = await replacementServes(victim.id, victim.generation);
  const since = (at: number) => (at - killed) / 1e9;
  print(`one of two workers killed under ${ended.length} streams, ${what}`, [
    row("requests that ended with all their tokens", [ended.length - incomplete], "requests", {
      least: ended.length,
    }),
    row("of them, continued on the other worker", [resumed], "requests"),
    row("all of them, undisturbed", [undisturbed], "s"),
    row("all of them, with the loss", [secondsOf(ended)], "s"),
    row("from the kill to the new process's start", [since(stateAt(victim.id, "starting", killed))], "s"),
    row("from the kill to the replacement being ready", [since(stateAt(victim.id, "ready", killed))], "s"),
    row("from the kill to its first answer", [since(serves)], "s"),
  ]);
  if (incomplete > 0) throw new Error(`${incomplete} answers are incomplete`);
}

function isComplete({ finishReason, tokenIds, usage }: GenerateResult): boolean {
  return finishReason === "length" && tokenIds.length === newTokens && usage.completionTokens === newTokens;
}

/** When the replacement has ended its first request. */
async function replacementServes(id: string, lost: number): Promise<number> {
  const deadline = now() + 300e9;
  const replaced = () => two.workers().find((worker) => worker.id === id && worker.generation > lost);
  while (replaced()?.state !== "ready") {
    if (now() > deadline) throw new Error("the replacement was not ready within 300 s");
    await delay(10);
  }
  const probes = await runBatch(two, newTexts(2, characters), 8);
  if (!probes.some(({ result }) => result.worker?.pid === replaced()?.pid))
    throw new Error("the replacement got no request");
  return now();
}

function stateAt(worker: string, state: string, after: number): number {
  const found = states.find(
    ({ at, event }) => at > after && event.type === "state" && event.worker === worker && event.state === state,
  );
  if (found === undefined) throw new Error(`${worker} was not ${state}`);
  return found.at;
}
