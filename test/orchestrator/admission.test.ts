import { afterAll, beforeAll, expect, test } from "vitest";
import type { Transport } from "../../orchestrator/transport.ts";
import { Glimpse } from "../../sdk/client.ts";
import { Deadline } from "../deadline.ts";
import { endingsOf, Recorder, startScripted, submit, type Watched } from "./scripted.ts";

const QUEUE_LIMIT = 3;
const recorder = new Recorder();
let transport: Transport;
let glm: Glimpse;
beforeAll(async () => {
  transport = await startScripted("normal", { queueLimit: QUEUE_LIMIT, onEvent: recorder.onEvent });
  glm = new Glimpse(transport, { allowHosts: new Set() });
});
afterAll(() => transport.close());

/** So many that take all slots of the worker, until they are cancelled. */
async function occupy(slots = 4): Promise<() => Promise<void>> {
  const running = Array.from({ length: slots }, () => submit(transport, "slow 2000"));
  await Promise.all(running.map((watched) => watched.tokens(1)));
  return async () => {
    for (const { request } of running) request.cancel();
    await Promise.all(running.map(({ ending }) => ending));
  };
}

function wait(count: number): Watched[] {
  return Array.from({ length: count }, () => submit(transport, "normal 1"));
}

test("one request more than may wait is refused, with when to come back; those that wait are served", async () => {
  const release = await occupy();
  const waiting = wait(QUEUE_LIMIT);
  const [refused] = wait(1);
  expect(await refused?.ending).toMatchObject({
    type: "error",
    error: {
      code: "QUEUE_FULL",
      retryable: true,
      retryAfterMs: expect.any(Number),
      hint: expect.stringContaining("ms"),
    },
  });
  expect(refused?.events).toHaveLength(1);
  await release();
  for (const { ending } of waiting) expect(await ending).toMatchObject({ type: "done", finishReason: "stop" });
});

test("a cancelled request gives its place in the queue to the next at once", async () => {
  const release = await occupy();
  const waiting = wait(QUEUE_LIMIT);
  await Promise.all(waiting.map(({ first }) => first));
  waiting[1]?.request.cancel();
  const [next] = wait(1);
  expect(await next?.first).toMatchObject({ type: "queued" });
  await release();
  expect(await next?.ending).toMatchObject({ type: "done", finishReason: "stop" });
});

test("where nobody may wait, a request is taken by a worker that is free, and refused by one that is not", async () => {
  const strict = await startScripted("normal", { queueLimit: 0, slots: 1 });
  const first = submit(strict, "slow 3");
  expect(await submit(strict, "normal 1").ending).toMatchObject({ error: { code: "QUEUE_FULL" } });
  expect(await first.ending).toMatchObject({ type: "done" });
  expect(await submit(strict, "normal 1").ending).toMatchObject({ type: "done" });
  await strict.close();
});

test("a request that no worker has had within its queueTimeoutMs fails by name; one that has a worker does not", async () => {
  const served = submit(transport, "slow 2000", {}, { queueTimeoutMs: 1_000 });
  await served.tokens(1);
  const release = await occupy(3);
  // It began later: when its time is over, so is that of the one that is served.
  const late = submit(transport, "normal 1", {}, { queueTimeoutMs: 1_000 });
  const unhurried = submit(transport, "normal 1", {}, { queueTimeoutMs: 60_000 });
  expect(await late.ending).toMatchObject({
    error: { code: "TIMEOUT", retryable: true, message: expect.stringContaining("queueTimeoutMs") },
  });
  expect(served.events.at(-1)).toMatchObject({ type: "tokens" });
  served.request.cancel();
  await release();
  expect(await unhurried.ending).toMatchObject({ type: "done", finishReason: "stop" });
  expect(await served.ending).toMatchObject({ type: "done", finishReason: "cancelled" });
  // Places are told every now and then: perhaps not within its time.
  expect(late.events.filter(({ type }) => type !== "queued")).toHaveLength(1);
});

test("a request that passes its timeoutMs fails with what there is, and the worker stops", async () => {
  const deadline = new Deadline();
  const stream = glm.stream({ prompt: "slow 2000", timeoutMs: deadline.ms });
  for await (const { type } of stream) {
    if (type !== "text") continue;
    deadline.pass();
    break;
  }
  const error = await stream.result.catch((reason: unknown) => reason);
  expect(error).toMatchObject({
    code: "TIMEOUT",
    retryable: true,
    message: expect.stringContaining("timeoutMs"),
    partial: { text: expect.stringMatching(/^[a-z]+$/), requestId: expect.any(String) },
  });
  await submit(transport, "slow 3").ending;
  expect(transport.workers()[0]?.load).toEqual({ requests: 0, tokens: 0, mediaBytes: 0 });
});

test("a caller who cancels on hearing of its place ends its request once, and the worker stops", async () => {
  const watched: Watched = submit(transport, "slow 2000", {}, {}, (event) => {
    if (event.type === "queued") watched.request.cancel();
  });
  await watched.ending;
  await submit(transport, "slow 3").ending;
  expect(endingsOf(watched)).toMatchObject([{ type: "done", finishReason: "cancelled" }]);
  expect(transport.workers()[0]?.load.requests).toBe(0);
});

test("what was asked before drain() is answered, what is asked after it is refused", async () => {
  const other = await startScripted();
  const client = new Glimpse(other, { allowHosts: new Set() });
  const asked = Array.from({ length: 6 }, () => client.generate({ prompt: "slow 5" }));
  let ended = 0;
  for (const result of asked) void result.then(() => (ended += 1));
  const raw = submit(other, "slow 5");
  const drained = client.drain();
  await expect(client.generate({ prompt: "slow 5" })).rejects.toMatchObject({ code: "DISPOSED" });
  await drained;
  expect(ended).toBe(6);
  expect(endingsOf(raw)).toMatchObject([{ type: "done" }]);
  await expect(client.generate({ prompt: "slow 5" })).rejects.toMatchObject({ code: "DISPOSED" });
  expect(await submit(other, "slow 5").ending).toMatchObject({ error: { code: "DISPOSED" } });
  expect(other.workers()).toMatchObject([{ state: "ready" }]);
  await client.drain();
  await client.close();
  await client.drain();
});

test("who asks while it closes hears that it was closed", async () => {
  const other = await startScripted();
  const before = submit(other, "slow 5");
  const closed = other.close();
  const during = submit(other, "slow 5");
  for (const { ending } of [before, during]) expect(await ending).toMatchObject({ error: { code: "DISPOSED" } });
  await closed;
  expect(await submit(other, "slow 5").ending).toMatchObject({ error: { code: "DISPOSED" } });
});
