import { setImmediate as turn } from "node:timers/promises";
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from "vitest";
import { MAX_HEADER_BYTES } from "../../protocol/codec.ts";
import { Census } from "../chaos/leftovers.ts";
import { Pool, shortLimits } from "../chaos/pool.ts";
import { seedsOr, withSeed } from "../chaos/random.ts";
import { heldBytes } from "./heap.ts";
import { heartbeat, hello, type Impostor, Impostors, pack, ready } from "./impostor.ts";
import { goldenFrames, mutated } from "./mutations.ts";

const census = new Census();
let impostors: Impostors;
let pool: Pool;
/** The one that serves at the moment. */
let impostor: Impostor;

beforeAll(async () => {
  await (await Pool.start({ workers: 1 })).close();
  census.begin();
});
beforeEach(async () => {
  impostors = new Impostors();
  const started = Pool.start({ workers: 1, python: impostors.python, limits: { ...shortLimits, silenceMs: 2_000 } });
  impostor = await impostors.next();
  await impostor.serve();
  pool = await started;
});
afterEach(async () => {
  impostors.leave();
  await pool.close();
});
afterAll(async () => {
  expect(await census.leftovers()).toEqual([]);
});

/** The next process, in the place of one that was ended. */
async function next(): Promise<Impostor> {
  impostor.leave();
  impostor = await impostors.next();
  return impostor;
}

/** The next process, while the present one still says that all is well. */
async function successorOfTheLiving(): Promise<Impostor> {
  const successor = await impostors.next();
  impostor.leave();
  impostor = successor;
  return successor;
}

/** A request that the present impostor answers as a worker should. */
async function answersWell(): Promise<void> {
  const request = pool.play("anything");
  const key = await impostor.request();
  await impostor.tokens(key, 0, [104, 105]);
  await impostor.done(key, 2);
  expect(await request.ended).toMatchObject({ type: "done", finishReason: "stop" });
  expect(request.ids).toEqual([104, 105]);
}

test.each([
  ["the wrong token", { token: "guessed" }],
  ["another generation", { generation: 1 }],
  ["another version of the protocol", { protocol: 99 }],
])("a process that says hello with %s is ended; the one after it serves", async (_, wrong) => {
  await impostor.control.send({ type: "nothing" });
  const stranger = await next();
  await stranger.control.send({ ...hello(stranger.start), ...wrong });
  await pool.until(() => pool.losses().length === 2);
  expect(pool.losses()[1]).toMatchObject({ cause: "babbled", state: "starting", generation: 2 });
  await (await next()).serve();
  await pool.allReady();
  await answersWell();
});

test("a process that speaks before its hello is ended", async () => {
  await impostor.control.send({ type: "nothing" });
  const rash = await next();
  await rash.control.send(ready);
  await pool.until(() => pool.losses().length === 2);
  expect(pool.losses()[1]).toMatchObject({ cause: "babbled", message: expect.stringContaining("before hello") });
  await (await next()).serve();
  await pool.allReady();
  await answersWell();
});

test("what is unknown, or of the past, changes nothing", async () => {
  const request = pool.play("anything");
  const key = await impostor.request();
  await impostor.tokens(key, 0, [1]);
  for (const other of [
    { ...key, attempt: 7 },
    { ...key, request: "never asked" },
  ]) {
    await impostor.tokens(other, 0, [66]);
    await impostor.tokens(other, 500, [66]);
    await impostor.data.send({ type: "prepared", ...other, promptTokens: 9, imageTokens: 0 });
    await impostor.data.send({ type: "warning", ...other, code: "IMAGE_PADDED", message: "no" });
    await impostor.data.send({ type: "error", ...other, code: "GENERATION_FAILED", message: "no" });
    await impostor.done(other, 500);
  }
  await impostor.tokens(key, 1, [2]);
  await impostor.done(key, 2);
  await impostor.done(key, 2);
  await impostor.tokens(key, 2, [3]);
  expect(await request.ended).toMatchObject({ type: "done", resumed: 0 });
  expect(request.events.filter(({ type }) => type !== "queued").map(({ type }) => type)).toEqual([
    "tokens",
    "tokens",
    "done",
  ]);
  await answersWell();
  expect(pool.losses()).toEqual([]);
});

test.each([
  ["misses a token", 2],
  ["sends a token twice", 0],
])("a worker that %s is ended, and the request goes on with what was right", async (_, wrongIndex) => {
  const request = pool.play("anything");
  const key = await impostor.request();
  await impostor.tokens(key, 0, [104]);
  await impostor.tokens(key, wrongIndex, [104]);
  await impostor.tokens(key, 1, [66]);
  await impostor.done(key, 2);
  const successor = await next();
  expect(pool.losses()).toMatchObject([{ cause: "babbled", running: [{ tokens: 1 }] }]);
  await successor.serve();
  const again = await successor.generate();
  expect(again).toMatchObject({ request: key.request, attempt: key.attempt + 1, generated: [104] });
  await successor.tokens(again, 1, [105]);
  await successor.done(again, 2);
  expect(await request.ended).toMatchObject({ type: "done", resumed: 1 });
  expect(request.ids).toEqual([104, 105]);
});

test("a second hello, and a second ready, change nothing", async () => {
  for (let times = 0; times < 2; times += 1) {
    await impostor.control.send(hello(impostor.start));
    await impostor.control.send(ready);
  }
  await answersWell();
  expect(pool.losses()).toEqual([]);
});

test("a message of two frames is none", async () => {
  await impostor.control.send([pack(heartbeat), pack(heartbeat)]);
  await next();
  expect(pool.losses()).toMatchObject([{ cause: "babbled", message: expect.stringContaining("2 frames") }]);
});

test("a frame larger than any message goes nowhere, and its sender can go on", async () => {
  const before = await heldBytes();
  await impostor.control.send(Buffer.alloc(MAX_HEADER_BYTES + 1, 0xc0));
  await impostor.control.send(heartbeat);
  await answersWell();
  expect((await heldBytes()) - before).toBeLessThan(MAX_HEADER_BYTES);
});

test("a worker that has lost a request is found out, and the request goes on elsewhere", async () => {
  const request = pool.play("anything");
  const key = await impostor.request();
  await impostor.tokens(key, 0, [104]);
  const successor = await successorOfTheLiving();
  expect(pool.losses()).toMatchObject([{ cause: "hung", running: [{ tokens: 1 }] }]);
  await successor.serve();
  const again = await successor.request();
  await successor.tokens(again, 1, [105]);
  await successor.done(again, 2);
  expect(await request.ended).toMatchObject({ type: "done", resumed: 1 });
  expect(request.ids).toEqual([104, 105]);
});

test("a flood of messages that mean nothing costs no memory, and the request beside it goes on", async () => {
  const request = pool.play("anything");
  const key = await impostor.request();
  const flood = async (rounds: number) => {
    const stale = Array.from({ length: 100 }, (_, index) => ({
      ...key,
      request: `r${index}`,
      index,
      ids: [1],
      parts: [],
    }));
    const frame = pack({ type: "tokens", items: stale });
    for (let round = 0; round < rounds; round += 1) {
      await impostor.data.send(frame);
      await impostor.control.send(heartbeat);
    }
    // By then all of it has been read.
    const index = request.ids.length;
    await impostor.tokens(key, index, [104]);
    await request.tokens(index + 1);
  };
  await flood(200);
  const before = await heldBytes();
  await flood(3_000);
  expect((await heldBytes()) - before).toBeLessThan(4 * 1024 * 1024);
  await impostor.done(key, 2);
  expect(await request.ended).toMatchObject({ type: "done" });
  expect(pool.losses()).toEqual([]);
});

test.each(seedsOr([1]))("mutated frames on both channels end the worker by name, or mean nothing: seed %i", (seed) =>
  withSeed(seed, async (random) => {
    for (let frames = 1, losses = 0; losses < 15; frames += 1) {
      const channel = random.pick([impostor.control, impostor.data]);
      await channel.send(random.int(4) === 0 ? random.pick(goldenFrames) : mutated(random));
      await impostor.control.send({ ...heartbeat, steps: frames });
      // It is ended, or goes on and has been heard.
      while (pool.losses().length === losses && pool.transport.workers()[0]?.heartbeat?.steps !== frames) await turn();
      if (pool.losses().length === losses) continue;
      losses = pool.losses().length;
      await (await next()).serve();
      await pool.allReady();
    }
    // Some of the golden frames are the worker's own words of farewell.
    expect(pool.losses().filter(({ cause }) => cause !== "babbled" && cause !== "gave up")).toEqual([]);
    await answersWell();
  }),
);
