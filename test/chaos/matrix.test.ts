import { afterAll, beforeAll, expect, test } from "vitest";
import type { WorkerInfo } from "../../orchestrator/events.ts";
import { breakIt, bringTo, type Cell, type FaultName, faults, SCRIPT, type StateName } from "./cells.ts";
import { Innocents } from "./innocents.ts";
import { Census } from "./leftovers.ts";
import { Pool, shortLimits } from "./pool.ts";
import { type Random, seedsOr, withSeed } from "./random.ts";

const WORKERS = 3;
/** A worker that is held in the state in which it is to break must not be lost for it on a machine that is busy. */
const limits = {
  ...shortLimits,
  loadingMs: 1_500,
  loadingSilenceMs: 1_000,
  silenceMs: 1_500,
  stepMs: 1_000,
  dumpMs: 300,
} as const;
const MATRIX_MS = 120_000;
/** In that order, on one worker each. */
const inRestart = ["draining", "stopping", "loading"] as const;
const otherwise = ["starting", "idle", "before the first token", "streaming"] as const;

const census = new Census();
beforeAll(async () => {
  await (await Pool.start({ workers: 1 })).close();
  census.begin();
});
afterAll(async () => {
  expect(await census.leftovers()).toEqual([]);
});

test.concurrent.each(seedsOr([1, 2, 3]))(
  "whatever happens to a worker, in whatever state, no request notices: seed %i",
  (seed) =>
    withSeed(seed, async (random) => {
      const found = await playMatrix(random);
      expect(found).toEqual([]);
    }),
  MATRIX_MS,
);

/** Every fault in every state, two at a time: so no innocent request is ever alone on a third worker that breaks. */
async function playMatrix(random: Random): Promise<string[]> {
  const pool = await Pool.start({ workers: WORKERS, limits });
  const innocents = new Innocents(pool, { maxNewTokens: 14 });
  await innocents.learn([SCRIPT]);
  const found: string[] = [];
  for (const pair of pairs(random.shuffle(cellsOf(otherwise)))) {
    await pool.allReady();
    found.push(...(await playPair(pool, innocents, pair, random)), ...(await innocents.defects()));
  }
  const columns = inRestart.map((state) => random.shuffle(cellsOf([state])));
  for (const index of faults.keys()) {
    await pool.allReady();
    const cells = columns.flatMap((column) => column[index] ?? []);
    found.push(...(await playRestart(pool, innocents, cells)), ...(await innocents.defects()));
  }
  await pool.close();
  expect(pool.losses().filter(({ state }) => state === "stopping")).toEqual([]);
  return found;
}

function cellsOf(states: readonly StateName[]): Cell[] {
  return states.flatMap((state) => faults.map((fault: FaultName) => ({ state, fault })));
}

function pairs(cells: readonly Cell[]): Cell[][] {
  return Array.from({ length: Math.ceil(cells.length / 2) }, (_, index) => cells.slice(2 * index, 2 * index + 2));
}

async function playPair(pool: Pool, innocents: Innocents, cells: Cell[], random: Random): Promise<string[]> {
  const victims = random.shuffle(pool.transport.workers());
  const found = await Promise.all(cells.map((cell, index) => playCell(pool, innocents, cell, victims[index])));
  return found.flat();
}

async function playCell(pool: Pool, innocents: Innocents, cell: Cell, victim: WorkerInfo | undefined) {
  if (victim === undefined) throw new Error("there are fewer workers than cells");
  const patient = await bringTo(pool, innocents, cell.state, victim);
  const dealtWith = breakIt(pool, cell, patient);
  innocents.fill(SCRIPT);
  return dealtWith;
}

/** One worker breaks while it finishes what is on board, one when it is asked to leave, and one when it comes back. */
async function playRestart(pool: Pool, innocents: Innocents, cells: Cell[]): Promise<string[]> {
  await Promise.all(innocents.fill(SCRIPT).map((request) => request.tokens(3)));
  const workers = pool.transport.workers();
  const restarted = pool.transport.restart();
  const found = await Promise.all(cells.map((cell, index) => playCell(pool, innocents, cell, workers[index])));
  await restarted;
  return found.flat();
}
