import { afterAll, beforeAll, expect, test } from "vitest";
import { Census } from "./leftovers.ts";
import { Pool, shortLimits } from "./pool.ts";
import { embeddedQuestions } from "./questions.ts";
import { seedsOr, withSeed } from "./random.ts";
import { playStorm } from "./storm.ts";

const census = new Census();
beforeAll(async () => {
  await (await Pool.start({ workers: 1 })).close();
  census.begin();
});
afterAll(async () => {
  expect(await census.leftovers()).toEqual([]);
});

test.each(seedsOr([5]))(
  "40 requests to the embedded model answer as ever while 8 workers are killed: seed %i",
  (seed) =>
    withSeed(seed, async (random) => {
      const { backoffMs, backoffMaxMs } = shortLimits;
      const pool = await Pool.start({ workers: 2, engine: { kind: "paged" }, limits: { backoffMs, backoffMaxMs } });
      const questions = await embeddedQuestions(pool);
      const plan = { questions, requests: 40, width: 8, cancelOneIn: 10, breaks: 8, faults: ["SIGKILL"] as const };
      const report = await playStorm(pool, random, plan);
      await pool.close();
      expect(report).toMatchObject({ defects: [], breaks: 8 });
      expect(report.requests).toBeGreaterThanOrEqual(40);
      expect(report.resumed).toBeGreaterThan(8);
    }),
  180_000,
);
