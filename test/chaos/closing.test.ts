import { setTimeout as delay } from "node:timers/promises";
import { afterAll, beforeAll, expect, test } from "vitest";
import { GlimpseError } from "../../protocol/errors.ts";
import { allFaults } from "./faulty.ts";
import { Census } from "./leftovers.ts";
import { Pool, pidOf } from "./pool.ts";
import { type Random, seedsOr, withSeed } from "./random.ts";

const census = new Census();
beforeAll(async () => {
  await (await Pool.start({ workers: 1 })).close();
  census.begin();
});
afterAll(async () => {
  expect(await census.leftovers()).toEqual([]);
});

const TIMES = 8;

test.each(seedsOr([1]))("closing at any moment ends every request once and leaves nothing: seed %i", (seed) =>
  withSeed(seed, async (random) => {
    for (let times = 0; times < TIMES; times += 1) await closeAtAnyMoment(random);
    expect(await census.leftovers()).toEqual([]);
  }),
);

async function closeAtAnyMoment(random: Random): Promise<void> {
  const pool = await Pool.start({ workers: 2 });
  const requests = Array.from({ length: 6 }, () =>
    pool.play(random.pick(["slow 50", "normal 5", "hang 3", "crash 3"])),
  );
  for (const worker of pool.transport.workers()) {
    if (random.int(2) === 0) pool.faulty.play(pidOf(worker), random.pick(allFaults));
  }
  if (random.int(3) === 0) pool.transport.restart().catch(() => {});
  await delay(random.int(900));
  await Promise.all([pool.close(), pool.close()]);
  for (const { events } of requests) {
    expect(events.filter(({ type }) => type === "done" || type === "error")).toHaveLength(1);
  }
  expect(pool.transport.workers().map(({ state }) => state)).toEqual(["stopped", "stopped"]);
  expect(await pool.play("normal 1").ended).toMatchObject({ error: { code: "DISPOSED" } });
}

test.each(seedsOr([1]))("a launch that is aborted at any moment leaves nothing: seed %i", (seed) =>
  withSeed(seed, async (random) => {
    for (let times = 0; times < TIMES; times += 1) {
      const signal = AbortSignal.timeout(1 + random.int(500));
      const outcome = await Pool.start({ workers: 2, engine: { kind: "scripted", load: "slow" }, signal }).then(
        (pool) => pool.close(),
        (error: unknown) => error,
      );
      if (outcome !== undefined) expect(GlimpseError.is(outcome, "ABORTED")).toBe(true);
    }
    expect(await census.leftovers()).toEqual([]);
  }),
);
