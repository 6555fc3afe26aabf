/**
 * Two workers on two GPUs beside one, and what becomes of the requests when one of the two is killed under load:
 *
 *     npx tsx bench/bridge/workers.ts [--model 9b] [--device cuda] [--streams 64] [--new-tokens 512]
 *
 * Each worker has as many streams. The pools take turns: one worker, two workers.
 */
import { setTimeout as delay } from "node:timers/promises";
import { parseArgs } from "node:util";
import type { WorkerEvent } from "../../orchestrator/events.ts";
import type { Glimpse } from "../../sdk/client.ts";
import type { GenerateResult } from "../../sdk/result.ts";
import { newTexts, runBatch, tokensPerSecond } from "./batch.ts";
import { print, ratio, row } from "./figures.ts";
import { startPool } from "./peers.ts";
import { now } from "./stamps.ts";

const TARGET = { least: 1.95 };

const { values } = parseArgs({
  options: {
    model: { type: "string", default: "embedded" },
    device: { type: "string", default: "cpu" },
    streams: { type: "string", default: "64" },
    "prompt-characters": { type: "string", default: "128" },
    "new-tokens": { type: "string", default: "512" },
    repetitions: { type: "string", default: "5" },
  },
});
const streams = Number(values.streams);
const characters = Number(values["prompt-characters"]);
const newTokens = Number(values["new-tokens"]);
const what = `prompts of ${characters} characters, ${newTokens} new tokens, ${values.model}`;

const states: { at: number; event: WorkerEvent }[] = [];
// Both load at the same time.
const starting = startPool(values.model, {
  device: values.device,
  workers: 2,
  onEvent: (event) => states.push({ at: now(), event }),
});
await using one = await startPool(values.model, { device: values.device === "cuda" ? "cuda:0" : values.device });
await using two = await starting;

await throughput();
await loss();

async function throughput(): Promise<void> {
  const alone: number[] = [];
  const both: number[] = [];
  for (let turn = -1; turn < Number(values.repetitions); turn++) {
    const first = await speed(one, 1);
    const second = await speed(two, 2);
    // The first turn warms up: kernels are compiled when they are first used.
    if (turn < 0) continue;
    alone.push(first);
    both.push(second);
  }
  print(`${streams} streams a worker, ${what}`, [
    row("one worker", alone, "tokens/s"),
    row("two workers", both, "tokens/s"),
    ratio("two over one", both, alone, TARGET),
  ]);
}

async function speed(glm: Glimpse, workers: number): Promise<number> {
  return tokensPerSecond(await runBatch(glm, newTexts(workers * streams, characters), newTokens));
}

async function loss(): Promise<void> {
  const undisturbed = await runBatch(two, newTexts(2 * streams, characters), newTokens);
  const victim = two.workers()[1];
  if (victim?.pid === undefined) throw new Error("the second worker has no process");
  const running = runBatch(two, newTexts(2 * streams, characters), newTokens);
  // In the middle of the answers.
  await delay(500 * undisturbed.seconds);
  const killed = now();
  process.kill(victim.pid, "SIGKILL");
  const { results, seconds } = await running;
  const incomplete = results.filter((result) => !isComplete(result)).length;
  const resumed = results.filter((result) => result.resumed > 0).length;
  const serves = await replacementServes(victim.id, victim.generation);
  const since = (at: number) => (at - killed) / 1e9;
  print(`one of two workers killed under ${results.length} streams, ${what}`, [
    row("requests that ended with all their tokens", [results.length - incomplete], "requests", {
      least: results.length,
    }),
    row("of them, continued on the other worker", [resumed], "requests"),
    row("all of them, undisturbed", [undisturbed.seconds], "s"),
    row("all of them, with the loss", [seconds], "s"),
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
  const { results } = await runBatch(two, newTexts(2, characters), 8);
  if (!results.some(({ worker }) => worker?.pid === replaced()?.pid)) throw new Error("the replacement got no request");
  return now();
}

function stateAt(worker: string, state: string, after: number): number {
  const found = states.find(
    ({ at, event }) => at > after && event.type === "state" && event.worker === worker && event.state === state,
  );
  if (found === undefined) throw new Error(`${worker} was not ${state}`);
  return found.at;
}
