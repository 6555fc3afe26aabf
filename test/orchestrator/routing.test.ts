import { afterAll, beforeAll, expect, test } from "vitest";
import type { Submission, Transport } from "../../orchestrator/transport.ts";
import { startScripted, submit, type Watched } from "./scripted.ts";

let transport: Transport;
beforeAll(async () => {
  transport = await startScripted("normal", { workers: 2 });
});
afterAll(() => transport.close());

/** A request about one picture of such bytes, which the scripted engine does not look at. */
function about(picture: Uint8Array): Partial<Submission> {
  return { media: [{ kind: "image", bytes: picture.byteLength }], frames: [picture] };
}

async function workerOf({ ending }: Watched): Promise<string | undefined> {
  const ended = await ending;
  return ended.type === "done" ? ended.worker?.id : undefined;
}

test("a second question about a picture goes to the worker that has seen it, a crowd goes to both", async () => {
  const picture = new Uint8Array(10_000).fill(1);
  const first = submit(transport, "slow 2000");
  await first.tokens(1);
  expect(await workerOf(submit(transport, "normal 1", {}, about(picture)))).toBe("worker-1");
  first.request.cancel();
  await first.ending;
  // With nothing on board of either, whoever comes without a picture gets the first.
  expect(await workerOf(submit(transport, "normal 1"))).toBe("worker-0");
  expect(await workerOf(submit(transport, "normal 1", {}, about(picture)))).toBe("worker-1");
  expect(await workerOf(submit(transport, "normal 1", {}, about(new Uint8Array(10_000).fill(2))))).toBe("worker-0");
  const crowd = Array.from({ length: 8 }, () => submit(transport, "slow 20", {}, about(picture)));
  expect(new Set(await Promise.all(crowd.map(workerOf)))).toEqual(new Set(["worker-0", "worker-1"]));
});

test("workers() says where each worker is placed and what it has on board", async () => {
  const running = Array.from({ length: 3 }, () => submit(transport, "slow 2000", { maxNewTokens: 100 }));
  await Promise.all(running.map((watched) => watched.tokens(1)));
  const workers = transport.workers();
  expect(workers).toMatchObject(
    [2, 1].map((requests, index) => ({
      id: `worker-${index}`,
      generation: 1,
      pid: expect.any(Number),
      state: "ready",
      exit: undefined,
      placement: "cpu",
      load: { requests, mediaBytes: 0 },
      device: { kind: "cpu", id: "cpu" },
      model: "scripted",
      engine: "scripted",
      versions: { python: expect.stringMatching(/^3\./) },
    })),
  );
  const [two = 0, one = 0] = workers.map(({ load }) => load.tokens);
  expect(two).toBeGreaterThan(one);
  expect(one).toBeGreaterThan(0);
  expect(one).toBeLessThan(100);
  for (const { request } of running) request.cancel();
  await Promise.all(running.map(({ ending }) => ending));
  expect(transport.workers().map(({ load }) => load)).toEqual(
    [1, 2].map(() => ({ requests: 0, tokens: 0, mediaBytes: 0 })),
  );
});
