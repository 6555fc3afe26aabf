import { expect, test } from "vitest";
import type { OrchestratorOptions } from "../../orchestrator/orchestrator.ts";
import { Pool } from "../../orchestrator/pool.ts";
import { defaultLimits, type Limits } from "../../orchestrator/supervision/limits.ts";
import { FaultyWorkers } from "../chaos/faulty.ts";
import { endingsOf, pidOf, Recorder, startScripted, submit, textOf } from "./scripted.ts";

/** What is to be interrupted in the middle is held back there: so it cannot be over before. */
const faulty = await FaultyWorkers.make();
const limits = { heartbeatMs: 50, backoffMs: 10, backoffMaxMs: 20 } satisfies Partial<Limits>;

async function start(options: Partial<Omit<OrchestratorOptions, "settings">> & { slots?: number } = {}) {
  const recorder = new Recorder();
  const transport = await startScripted("normal", {
    onEvent: recorder.onEvent,
    python: faulty.python,
    ...options,
    limits: { ...limits, ...options.limits },
  });
  return { transport, recorder };
}

test("where no worker can go on after another's tokens, a greedy request begins again and a sampled one fails", async () => {
  const pool = await poolThatCannotResume();
  await pool.start();
  faulty.hold(pidOf(pool), "token-26-of-2");
  const greedy = submit(pool, "slow 40", { temperature: 0 });
  const sampled = submit(pool, "slow 40", { temperature: 1 });
  const unstarted = Array.from({ length: 4 }, () => submit(pool, "normal 5", { temperature: 1 }));
  await Promise.all([greedy.tokens(25), sampled.tokens(25)]);
  process.kill(pidOf(pool), "SIGKILL");
  expect(await sampled.ending).toMatchObject({
    error: { code: "WORKER_LOST", message: expect.stringContaining("sampled") },
  });
  expect(await greedy.ending).toMatchObject({ type: "done", resumed: 1 });
  expect(textOf(greedy)).toBe("abcdefghijklmnopqrstuvwxyzabcdefghijklmn");
  for (const { ending } of unstarted) expect(await ending).toMatchObject({ type: "done" });
  await pool.close();
});

test("a step that hangs is reported with the stacks of the worker, which is replaced while the other serves", async () => {
  const { transport, recorder } = await start({
    workers: 2,
    onWorkerLoss: "fail",
    limits: { heartbeatMs: 100, stepMs: 400, dumpMs: 300 },
  });
  const hanging = submit(transport, "hang 3");
  await hanging.tokens(3);
  const other = submit(transport, "slow 60");
  expect(await hanging.ending).toMatchObject({
    error: { code: "WORKER_LOST", message: expect.stringContaining("hung") },
  });
  const [{ report } = { report: undefined }] = recorder.of("lost");
  expect(report).toMatchObject({
    cause: "hung",
    state: "stuck",
    exit: { kind: "signalled", signal: "SIGKILL" },
    stacks: expect.stringMatching(/line \d+ in hang\b/),
    running: [{ request: hanging.id, tokens: expect.any(Number) }],
  });
  expect(await other.ending).toMatchObject({ type: "done", resumed: 0 });
  await recorder.until("state", 3, "ready");
  expect(transport.workers().find(({ id }) => id === report?.worker)).toMatchObject({ generation: 2, state: "ready" });
  await transport.close();
});

test("a worker that stops for a while gets nothing new, and goes on where it was when it comes back", async () => {
  const { transport, recorder } = await start({ limits: { silenceMs: 2_000 } });
  const streaming = submit(transport, "stop 10");
  await recorder.until("state", 1, "stuck");
  const meanwhile = submit(transport, "normal 1");
  expect(await meanwhile.first).toEqual({ type: "queued", position: 1 });
  process.kill(pidOf(transport), "SIGCONT");
  expect(await streaming.ending).toMatchObject({ type: "done", resumed: 0, worker: { generation: 1 } });
  expect(await meanwhile.ending).toMatchObject({ type: "done" });
  expect(recorder.of("lost")).toEqual([]);
  expect(recorder.of("state").map(({ state }) => state)).toEqual(["starting", "loading", "ready", "stuck", "ready"]);
  await transport.close();
});

/** Ends the worker under two streams, twice: from then on each of them must run alone. */
async function twoSuspects() {
  const { transport, recorder } = await start();
  faulty.hold(pidOf(transport), "token-3-of-2");
  const suspects = [submit(transport, "slow 50"), submit(transport, "slow 50")] as const;
  await Promise.all(suspects.map((suspect) => suspect.tokens(2)));
  process.kill(pidOf(transport), "SIGKILL");
  await recorder.until("state", 2, "loading");
  faulty.hold(pidOf(transport), "token-11-of-2");
  await Promise.all(suspects.map((suspect) => suspect.tokens(10)));
  process.kill(pidOf(transport), "SIGKILL");
  await recorder.until("lost", 2);
  const had = suspects[0].events.flatMap((event) => (event.type === "tokens" ? event.ids : [])).length;
  await suspects[0].tokens(had + 1);
  return { transport, recorder, suspects };
}

test("a request that two workers died with runs alone, and the rest waits for it", async () => {
  const { transport, recorder, suspects } = await twoSuspects();
  const other = submit(transport, "normal 1");
  await other.first;
  expect(transport.workers()[0]?.load.requests).toBe(1);
  expect(await suspects[0].ending).toMatchObject({ type: "done", resumed: 2 });
  await suspects[1].tokens(30);
  expect(transport.workers()[0]?.load.requests).toBe(1);
  for (const { ending } of [...suspects, other]) expect(await ending).toMatchObject({ finishReason: "stop" });
  expect(recorder.of("request").map(({ outcome }) => outcome)).toEqual([
    ...["resumed", "resumed"],
    ...["suspected", "resumed", "suspected", "resumed"],
  ]);
  await transport.close();
});

test("a suspect that is cancelled while it waits for a worker of its own leaves that worker to the others", async () => {
  const { transport, suspects } = await twoSuspects();
  const other = submit(transport, "normal 1");
  await other.first;
  suspects[1].request.cancel();
  suspects[0].request.cancel();
  expect(await other.ending).toMatchObject({ type: "done", finishReason: "stop" });
  await transport.close();
});

test("who closes on hearing of a loss ends every request, whatever it was about to become", async () => {
  for (const type of ["lost", "request"] as const) {
    const { transport, recorder } = await start();
    transport.subscribe((event) => {
      if (event.type === type) void transport.close();
    });
    const streams = Array.from({ length: 3 }, () => submit(transport, "slow 2000"));
    await Promise.all(streams.map((stream) => stream.tokens(2)));
    process.kill(pidOf(transport), "SIGKILL");
    for (const { ending } of streams) expect(await ending).toMatchObject({ error: { code: "DISPOSED" } });
    await transport.close();
    expect(recorder.of("restart")).toEqual([]);
  }
});

test("a tool that fails while a worker waits for its memory does not cost the worker", async () => {
  const pool = await poolThatCannotResume(() => Promise.reject(new Error("nvidia-smi broke")));
  await pool.start();
  process.kill(pidOf(pool), "SIGKILL");
  expect(await submit(pool, "normal 1").ending).toMatchObject({ type: "done" });
  await pool.close();
});

test("what happens around a loss is told in order", async () => {
  const { transport, recorder } = await start();
  faulty.hold(pidOf(transport), "token-5");
  const streaming = submit(transport, "slow 30");
  await streaming.tokens(5);
  recorder.events.length = 0;
  process.kill(pidOf(transport), "SIGKILL");
  await streaming.ending;
  const told = recorder.events.filter(({ type }) => type !== "log" && type !== "loading");
  expect(told).toEqual([
    {
      type: "lost",
      worker: "worker-0",
      report: {
        worker: "worker-0",
        generation: 1,
        pid: expect.any(Number),
        cause: "exited",
        exit: { kind: "signalled", signal: "SIGKILL" },
        message: expect.stringContaining("worker-0"),
        state: "ready",
        stderr: [],
        stacks: undefined,
        running: [{ request: streaming.id, tokens: expect.any(Number) }],
      },
    },
    { type: "request", request: streaming.id, worker: "worker-0", outcome: "resumed", tokens: expect.any(Number) },
    { type: "state", worker: "worker-0", generation: 1, state: "waiting" },
    { type: "restart", worker: "worker-0", inMs: expect.any(Number), failures: 0 },
    { type: "state", worker: "worker-0", generation: 2, state: "starting" },
    { type: "state", worker: "worker-0", generation: 2, state: "loading" },
    { type: "state", worker: "worker-0", generation: 2, state: "ready" },
  ]);
  expect(endingsOf(streaming)).toHaveLength(1);
  await transport.close();
});

/** One scripted worker, as if on the reference engine. */
async function poolThatCannotResume(
  memoryBack: () => Promise<{ heldBy: readonly number[] }> = async () => ({ heldBy: [] }),
): Promise<Pool> {
  return new Pool({
    slots: [
      {
        id: "worker-0",
        python: faulty.python,
        placement: { device: "cpu", label: "cpu", env: {}, threads: 1, accelerators: [] },
        settings: { model: "scripted", dtype: "auto", engine: { kind: "scripted", load: "normal" } },
        memoryBack,
      },
    ],
    limits: { ...defaultLimits, ...limits },
    onWorkerLoss: "resume",
    canResume: false,
    queueLimit: 10,
  });
}
