import { afterEach, expect, test } from "vitest";
import type { OnWorkerLoss } from "../../orchestrator/failover.ts";
import { Glimpse } from "../../sdk/client.ts";
import { Deadline } from "../deadline.ts";
import { Pool, pidOf, shortLimits } from "./pool.ts";
import { type Answer, defects, type Recorded } from "./recorded.ts";

const BOX = "say at <|begin_of_box|>[[100,200,300,400]]<|end_of_box|>, and a long rest after the box, letter by letter";
const SCRIPTS = ["slow 40", "stutter 30", BOX];

let pool: Pool;
afterEach(() => pool.close());

/** Behind the box. */
const TOKENS = 45;

/** Resolves with the requests when each has had tokens from a worker that is then lost, and that held back the rest. */
async function interrupted(onWorkerLoss: OnWorkerLoss, scripts = SCRIPTS): Promise<Recorded[]> {
  const limits = { ...shortLimits, silenceMs: 60_000, stepMs: 60_000 };
  pool = await Pool.start({ workers: scripts.length, onWorkerLoss, limits });
  for (const worker of pool.transport.workers()) pool.faulty.hold(pidOf(worker), `token-${TOKENS}`);
  const requests = scripts.map((script) => pool.play(script));
  await Promise.all(requests.map((request) => request.tokens(TOKENS)));
  await Promise.all(pool.transport.workers().map(lose));
  return requests;
}

async function lose(worker: Parameters<typeof pidOf>[0]): Promise<void> {
  process.kill(pidOf(worker), "SIGKILL");
  await pool.lossOf(pidOf(worker));
}

test.each(["resume", "restart"] as const)("with %s nobody hears of a loss, whatever was on its way", async (mode) => {
  const requests = await interrupted(mode);
  await Promise.all(requests.map(({ ended }) => ended));
  // One that was given to a worker whose end nobody had noticed yet is lost once more.
  const losses = ({ id }: Recorded) =>
    pool.losses().filter(({ running }) => running.some(({ request }) => request === id)).length;
  expect(requests.map(losses).every((times) => times > 0)).toBe(true);
  expect(requests.map(({ ending }) => ending)).toMatchObject(requests.map((request) => ({ resumed: losses(request) })));
  await pool.allReady();
  const undisturbed = requests.map(({ what }) => pool.play(what));
  await Promise.all(undisturbed.map(({ ended }) => ended));
  expect(requests.flatMap((request, index) => defects(request, undisturbed[index]?.answer as Answer))).toEqual([]);
});

test("with fail a loss ends what was on board by name; what waits goes on", async () => {
  pool = await Pool.start({ workers: 1, onWorkerLoss: "fail", engine: { kind: "scripted", load: "normal", slots: 1 } });
  const running = pool.play("slow 2000");
  const waiting = pool.play("normal 5");
  await running.tokens(10);
  await Promise.all(pool.transport.workers().map(lose));
  expect(await running.ended).toMatchObject({ error: { code: "WORKER_LOST", retryable: true } });
  expect(running.ids.length).toBeGreaterThanOrEqual(10);
  expect(await waiting.ended).toMatchObject({ type: "done", resumed: 0 });
});

test("a rolling restart under load replaces every worker and loses nothing", async () => {
  pool = await Pool.start({ workers: 3 });
  const requests = Array.from({ length: 24 }, () => pool.play("slow 10"));
  await requests[0]?.tokens(5);
  const before = pool.transport.workers().map(pidOf);
  await pool.transport.restart();
  expect(pool.transport.workers()).toMatchObject(Array(3).fill({ state: "ready", generation: 2 }));
  expect(
    pool.transport
      .workers()
      .map(pidOf)
      .filter((pid) => before.includes(pid)),
  ).toEqual([]);
  for (const request of requests) expect(await request.ended).toMatchObject({ type: "done", resumed: 0 });
  expect(pool.losses()).toEqual([]);
});

test("draining waits for what a loss has interrupted, and takes nothing more", async () => {
  const requests = await interrupted("resume");
  const drained = pool.transport.drain();
  expect(await pool.play("normal 1").ended).toMatchObject({ error: { code: "DISPOSED" } });
  await drained;
  expect(requests.map(({ ending }) => ending?.type)).toEqual(["done", "done", "done"]);
});

test("who cancels while no worker is there is not kept waiting for one", async () => {
  const [request] = (await interrupted("resume", ["slow 500"])) as [Recorded];
  const had = request.ids.length;
  request.cancel();
  expect(await request.ended).toMatchObject({
    finishReason: "cancelled",
    usage: { completionTokens: had },
  });
});

test("who cancels on a worker that hangs has the ending when the worker is given up, and no other worker is asked", async () => {
  pool = await Pool.start({ workers: 2 });
  const request = pool.play("hang 3");
  await request.tokens(22);
  request.cancel();
  expect(await request.ended).toMatchObject({
    finishReason: "cancelled",
    usage: { completionTokens: request.ids.length },
  });
  expect(pool.events.filter(({ type }) => type === "request")).toEqual([]);
});

test("a deadline holds on a worker that hangs, and before anybody has noticed", async () => {
  pool = await Pool.start({ workers: 1, limits: { ...shortLimits, stepMs: 60_000 } });
  const glm = new Glimpse(pool.transport, { allowHosts: new Set() });
  const deadline = new Deadline();
  const stream = glm.stream({ prompt: "hang 3", timeoutMs: deadline.ms });
  let text = "";
  for await (const event of stream) {
    if (event.type === "text") text += event.text;
    if (text !== "abc") continue;
    deadline.pass();
    break;
  }
  await expect(stream.result).rejects.toMatchObject({ code: "TIMEOUT", partial: { text: "abc" } });
  expect(pool.losses()).toEqual([]);
});
