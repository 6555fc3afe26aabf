import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { Census } from "./leftovers.ts";
import { Pool, pidOf } from "./pool.ts";
import { scriptedQuestions } from "./questions.ts";
import { type Answer, defects, type Recorded } from "./recorded.ts";
import type { Question } from "./storm.ts";

const census = new Census();
let pool: Pool;
let questions: Question[];
beforeAll(async () => {
  await (await Pool.start({ workers: 1 })).close();
  census.begin();
  pool = await Pool.start({ workers: 3 });
  questions = await scriptedQuestions(pool);
});
beforeEach(() => pool.allReady());
afterAll(async () => {
  await pool.close();
  expect(await census.leftovers()).toEqual([]);
});

/** Forty that nobody dies of, and how to tell what is wrong with them once they have ended. */
function innocents() {
  const asked = Array.from({ length: 40 }, (_, index) => questions[index % questions.length] as Question).map(
    ({ ask, answer }) => ({ request: ask(), answer }),
  );
  return async () => {
    await Promise.all(asked.map(({ request }) => request.ended));
    return asked.flatMap(({ request, answer }) => defects(request, answer));
  };
}

/** With several on board: one that dies with a suspect alone convicts it, guilty or not. */
async function killUnderStreams(id: string): Promise<void> {
  for (;;) {
    await pool.until(() => pool.worker(id).state === "ready" && pool.worker(id).load.requests > 1);
    const pid = pidOf(pool.worker(id));
    // Stopped, it ends nothing more; and when that has been noticed, what it had ended before has come.
    process.kill(pid, "SIGSTOP");
    await pool.until(() => pool.worker(id).state === "stuck");
    const enough = pool.worker(id).load.requests > 1;
    process.kill(pid, enough ? "SIGKILL" : "SIGCONT");
    if (enough) return void (await pool.lossOf(pid));
  }
}

function outcomesOf(id: string): string[] {
  return pool.events.flatMap((event) => (event.type === "request" && event.request === id ? event.outcome : []));
}

test("every worker is killed twice under 40 streams, and none of them fails", async () => {
  let killing = true;
  const asked: { request: Recorded; answer: Answer }[] = [];
  const askNext = (): void => {
    const { ask, answer } = questions[asked.length % questions.length] as Question;
    const request = ask();
    asked.push({ request, answer });
    void request.ended.then(() => killing && askNext());
  };
  for (let count = 0; count < 40; count += 1) askNext();
  for (const { id } of [...pool.transport.workers(), ...pool.transport.workers()]) await killUnderStreams(id);
  killing = false;
  await Promise.all(asked.map(({ request }) => request.ended));
  expect(asked.flatMap(({ request, answer }) => defects(request, answer))).toEqual([]);
  expect(pool.losses()).toHaveLength(6);
  expect(pool.losses().filter(({ running }) => running.length < 2)).toEqual([]);
});

test.each(["crash 3", "hang 3", "babble 3"])(
  "a request that every worker dies of fails alone, by name, among 40 others: %s",
  async (script) => {
    const defectsOfAll = innocents();
    const poison = pool.play(script);
    const ending = await poison.ended;
    expect(ending).toMatchObject({ type: "error", error: { code: "POISON_REQUEST", retryable: false } });
    expect(outcomesOf(poison.id).at(-1)).toBe("quarantined");
    expect(outcomesOf(poison.id)).toContain("suspected");
    expect(await defectsOfAll()).toEqual([]);
    // Whoever was on board with it twice had to run alone, and was acquitted.
    const quarantined = pool.events.filter((event) => event.type === "request" && event.outcome === "quarantined");
    expect(quarantined.filter((event) => event.type === "request" && event.request === poison.id)).toHaveLength(1);
    // Its tokens came once, however many workers have begun it.
    expect(poison.raw).toBe("<think>I play a script.</think><answer>abc");
  },
);

test("a worker that breaks down by itself takes nobody with it: the request at fault fails, the others go on", async () => {
  const defectsOfAll = innocents();
  expect(await pool.play("poison 3").ended).toMatchObject({ type: "error", error: { code: "GENERATION_FAILED" } });
  expect(await defectsOfAll()).toEqual([]);
});
