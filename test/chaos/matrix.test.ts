import { afterAll, beforeAll, expect, test } from "vitest";
import type { WorkerInfo } from "../../orchestrator/events.ts";
import { breakIt, bringTo, type Cell, type FaultName, faults, type StateName } from "./cells.ts";
import { Innocents } from "./innocents.ts";
import { Census } from "./leftovers.ts";
import { Pool } from "./pool.ts";
import { type Random, seedsOr, withSeed } from "./random.ts";

const WORKERS = 3;
const MATRIX_MS = 120_000;
const inRestart = ["draining", "stopping"] as const;
const otherwise = ["starting", "loading", "idle", "before the first token", "streaming"] as const;

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
  const pool = await Pool.start({ workers: WORKERS });
  const innocents = new Innocents(pool);
  await innocents.learn(["slow 5"]);
  const found: string[] = [];
  const began = performance.now();
  const lap = (what: unknown) => console.log(Math.round(performance.now() - began), JSON.stringify(what));
  for (const pair of pairs(random.shuffle(cellsOf(otherwise)))) {
    await pool.allReady();
    lap(pair);
    found.push(...(await playPair(pool, innocents, pair, random)), ...(await innocents.defects()));
  }
  const [draining, stopping] = inRestart.map((state) => random.shuffle(cellsOf([state]))) as [Cell[], Cell[]];
  for (const [index, cell] of draining.entries()) {
    await pool.allReady();
    lap(cell);
    found.push(...(await playRestart(pool, innocents, cell, stopping[index] as Cell)), ...(await innocents.defects()));
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
  innocents.fill();
  return dealtWith;
}

/** One worker breaks while it finishes what is on board, the next one when it is asked to leave. */
async function playRestart(pool: Pool, innocents: Innocents, draining: Cell, stopping: Cell): Promise<string[]> {
  const [first, second] = pool.transport.workers();
  await Promise.all(innocents.fill().map((request) => request.tokens(3)));
  // It waits from the start: the restart may have come to it before anybody looks.
  const stopped = playCell(pool, innocents, stopping, second);
  const restarted = pool.transport.restart();
  const found = await Promise.all([playCell(pool, innocents, draining, first), stopped]);
  await restarted;
  return found.flat();
}
