/**
 * A storm of any size: npm run chaos -- --seed N --requests 300. Prints a summary; exits with 1 when a request ended
 * otherwise than undisturbed, or anything is left behind.
 */
import { randomInt } from "node:crypto";
import { availableParallelism } from "node:os";
import { parseArgs } from "node:util";
import type { Limits } from "../../orchestrator/supervision/limits.ts";
import { allFaults } from "./faulty.ts";
import { Census } from "./leftovers.ts";
import { Pool, shortLimits } from "./pool.ts";
import { embeddedQuestions, scriptedQuestions } from "./questions.ts";
import { seeded } from "./random.ts";
import { playStorm } from "./storm.ts";

const { values } = parseArgs({
  options: {
    seed: { type: "string", default: String(randomInt(2 ** 32)) },
    requests: { type: "string", default: "300" },
    /** Default: one worker in five requests. */
    breaks: { type: "string" },
    workers: { type: "string", default: String(Math.max(2, Math.floor(availableParallelism() / 2))) },
    engine: { type: "string", default: "embedded" },
  },
});

/** For a worker that computes on cores which three others share. */
const patient: Partial<Limits> = { ...shortLimits, helloMs: 30_000, loadingMs: 60_000, loadingSilenceMs: 30_000 };

const requests = Number(values.requests);
const isScripted = values.engine === "scripted";
const census = new Census();
await (await Pool.start({ workers: 1 })).close();
census.begin();

const workers = Number(values.workers);
const pool = isScripted
  ? await Pool.start({ workers })
  : await Pool.start({ workers, engine: { kind: "paged" }, limits: { ...patient, silenceMs: 4_000, stepMs: 4_000 } });
const began = performance.now();
pool.transport.subscribe((event) => {
  if (event.type !== "lost") return;
  const { message, running } = event.report;
  console.log(`${Math.round((performance.now() - began) / 1000)} s: ${message}; ${running.length} requests on board`);
});
const report = await playStorm(pool, seeded(Number(values.seed)), {
  questions: await (isScripted ? scriptedQuestions(pool) : embeddedQuestions(pool)),
  requests,
  width: 5 * workers,
  cancelOneIn: 10,
  breaks: values.breaks === undefined ? Math.floor(requests / 5) : Number(values.breaks),
  faults: allFaults,
});
await pool.close();
const leftovers = await census.leftovers();

console.log({ seed: Number(values.seed), engine: values.engine, workers, ...report, leftovers });
process.exitCode = report.defects.length + leftovers.length > 0 ? 1 : 0;
