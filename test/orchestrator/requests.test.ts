import { afterAll, beforeAll, expect, test } from "vitest";
import type { Transport } from "../../orchestrator/transport.ts";
import { Glimpse } from "../../sdk/client.ts";
import { startScripted, submit, textOf, type Watched } from "./scripted.ts";

let transport: Transport;
beforeAll(async () => {
  transport = await startScripted();
});
afterAll(async () => {
  await transport.close();
});

function placesOf({ events }: Watched): number[] {
  return events.flatMap((event) => (event.type === "queued" ? [event.position] : []));
}

test("a request streams its tokens and ends once", async () => {
  const watched = submit(transport, "say hello world");
  const { events, ending } = watched;
  expect(await ending).toMatchObject({
    type: "done",
    finishReason: "stop",
    worker: { id: "worker-0", state: "ready" },
  });
  expect(textOf(watched)).toBe("hello world");
  expect(events.filter((event) => event.type === "done" || event.type === "error")).toHaveLength(1);
});

test("requests beyond the worker's slots wait in line and hear their place", async () => {
  const running = Array.from({ length: 4 }, () => submit(transport, "slow 2000"));
  await Promise.all(running.map((watched) => watched.tokens(1)));
  const [first, second] = [submit(transport, "normal 1"), submit(transport, "normal 1")];
  expect(await first.first).toEqual({ type: "queued", position: 4 });
  expect(await second.first).toEqual({ type: "queued", position: 5 });
  for (const { request } of running) request.cancel();
  await Promise.all([...running, first, second].map((watched) => watched.ending));
  for (const { events } of [first, second]) {
    expect(events.filter((event) => event.type === "queued").at(-1)).toEqual({ type: "queued", position: 0 });
    expect(events.at(-1)).toMatchObject({ type: "done", finishReason: "stop" });
  }
});

test("a request that waits hears its place once, however many before it leave at once", async () => {
  const running = Array.from({ length: 4 }, () => submit(transport, "slow 2000"));
  await Promise.all(running.map((watched) => watched.tokens(1)));
  const leaving = Array.from({ length: 999 }, () => submit(transport, "normal 1"));
  const last = submit(transport, "normal 1");
  await last.first;
  for (const { request } of leaving) request.cancel();
  while (!placesOf(last).includes(4)) await new Promise((resolve) => setImmediate(resolve));
  for (const { request } of running) request.cancel();
  await Promise.all([...running, ...leaving, last].map((watched) => watched.ending));
  expect(placesOf(last)).toEqual([1003, 4, 0]);
});

test("a request that waits does not hear of every one that leaves before it", async () => {
  const running = Array.from({ length: 4 }, () => submit(transport, "slow 2000"));
  await Promise.all(running.map((watched) => watched.tokens(1)));
  const leaving = Array.from({ length: 50 }, () => submit(transport, "normal 1"));
  const last = submit(transport, "normal 1");
  await last.first;
  const since = performance.now();
  for (const { request } of leaving) {
    request.cancel();
    await new Promise((resolve) => setImmediate(resolve));
  }
  expect(placesOf(last).length).toBeLessThanOrEqual(2 + (performance.now() - since) / 50);
  for (const { request } of running) request.cancel();
  await Promise.all([...running, ...leaving, last].map((watched) => watched.ending));
});

test("320 requests run at once, a thousand wait, and every one gets all of its tokens", async () => {
  const wide = await startScripted("normal", { slots: 320 });
  const running = Array.from({ length: 320 }, () => submit(wide, "slow 2000"));
  await Promise.all(running.map((watched) => watched.tokens(20)));
  const waiting = Array.from({ length: 1000 }, () => submit(wide, "normal 26"));
  expect(await waiting[999]?.first).toEqual({ type: "queued", position: 1319 });
  for (const { request } of running) request.cancel();
  await Promise.all([...running, ...waiting].map((watched) => watched.ending));
  expect(new Set(waiting.map(textOf))).toEqual(new Set(["abcdefghijklmnopqrstuvwxyz"]));
  await wide.close();
});

test("a cancelled request ends as cancelled and sends nothing more", async () => {
  const watched = submit(transport, "slow 2000");
  await watched.tokens(2);
  watched.request.cancel();
  watched.request.cancel();
  expect(await watched.ending).toMatchObject({ type: "done", finishReason: "cancelled" });
  expect(watched.events.at(-1)?.type).toBe("done");
});

test("a request cancelled while it waits never reaches the worker", async () => {
  const running = Array.from({ length: 4 }, () => submit(transport, "slow 2000"));
  await Promise.all(running.map((watched) => watched.tokens(1)));
  const waiting = submit(transport, "normal 5");
  const atOnce = submit(transport, "normal 5");
  atOnce.request.cancel();
  await waiting.first;
  waiting.request.cancel();
  for (const { ending } of [waiting, atOnce]) {
    expect(await ending).toMatchObject({
      finishReason: "cancelled",
      worker: undefined,
      usage: { completionTokens: 0 },
    });
  }
  for (const { request } of running) request.cancel();
  await Promise.all(running.map((watched) => watched.ending));
});

test("an abort rejects a request that waits in the queue, as it does one that runs", async () => {
  const running = Array.from({ length: 4 }, () => submit(transport, "slow 2000"));
  await Promise.all(running.map((watched) => watched.tokens(1)));
  const controller = new AbortController();
  const stream = new Glimpse(transport, { allowHosts: new Set() }).stream({
    prompt: "normal 5",
    signal: controller.signal,
  });
  for await (const event of stream) {
    if (event.type === "queued") break;
  }
  const aborted = new Glimpse(transport, { allowHosts: new Set() }).stream({
    prompt: "normal 5",
    signal: controller.signal,
  });
  const iterator = aborted[Symbol.asyncIterator]();
  expect((await iterator.next()).value).toEqual({ type: "queued", position: 4 });
  controller.abort(new Error("enough"));
  await expect(aborted.result).rejects.toMatchObject({ code: "ABORTED", cause: new Error("enough") });
  expect(await stream.result).toMatchObject({ finishReason: "cancelled" });
  for (const { request } of running) request.cancel();
  await Promise.all(running.map((watched) => watched.ending));
});

test("a request that runs out of memory fails by name and the next one works", async () => {
  const other = submit(transport, "slow 50");
  expect(await submit(transport, "oom 3").ending).toMatchObject({
    type: "error",
    error: { code: "GPU_OUT_OF_MEMORY", retryable: true },
  });
  expect(await submit(transport, "normal 3").ending).toMatchObject({ type: "done" });
  expect(await other.ending).toMatchObject({ type: "done", finishReason: "stop" });
});

test("a request ends at its own limit", async () => {
  expect(await submit(transport, "normal 50", { maxNewTokens: 5 }).ending).toMatchObject({
    finishReason: "length",
    usage: { completionTokens: 5 },
  });
});
