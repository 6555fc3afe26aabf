import { mkdtemp, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { resolvePython } from "../../orchestrator/python/resolve.ts";
import type { Limits } from "../../orchestrator/supervision/limits.ts";
import type { Transport } from "../../orchestrator/transport.ts";
import { FaultyWorkers } from "../chaos/faulty.ts";
import { pidOf, Recorder, startScripted, submit, textOf } from "./scripted.ts";

const limits = { heartbeatMs: 50, backoffMs: 10, backoffMaxMs: 20 } satisfies Partial<Limits>;
const alphabet = "abcdefghijklmnopqrstuvwxyz";

async function start(workers: number, python?: string) {
  const recorder = new Recorder();
  const { onEvent } = recorder;
  return {
    recorder,
    transport: await startScripted("normal", { workers, limits, onEvent, ...(python && { python }) }),
  };
}

function generations(transport: Transport): number[] {
  return transport.workers().map(({ generation }) => generation);
}

test("a rolling restart under load replaces one worker after the other, and no request notices", async () => {
  const { transport, recorder } = await start(2);
  const streams = Array.from({ length: 24 }, () => submit(transport, "slow 26"));
  await streams[7]?.tokens(1);
  const restarted = transport.restart();
  expect(transport.restart()).toBe(restarted);
  for (const stream of streams) {
    expect(await stream.ending).toMatchObject({ type: "done", finishReason: "stop", resumed: 0 });
    expect(textOf(stream)).toBe(alphabet);
  }
  await restarted;
  expect(generations(transport)).toEqual([2, 2]);
  expect(recorder.of("lost")).toEqual([]);
  const [first, second] = ["worker-0", "worker-1"].map((id) =>
    recorder.events.flatMap((event, at) => (event.type === "state" && event.worker === id ? { at, ...event } : [])),
  );
  const backAgain = first?.filter(({ state }) => state === "ready")[1]?.at;
  expect(second?.find(({ state }) => state === "draining")?.at).toBeGreaterThan(backAgain ?? Number.NaN);
  await transport.close();
});

test("the only worker finishes what it has before it is replaced, and what comes meanwhile waits for the next", async () => {
  const { transport } = await start(1);
  const before = submit(transport, "slow 26");
  await before.tokens(1);
  const restarted = transport.restart();
  const meanwhile = submit(transport, "normal 1");
  expect(await before.ending).toMatchObject({ type: "done", resumed: 0, worker: { generation: 1 } });
  expect(await meanwhile.ending).toMatchObject({ type: "done", worker: { generation: 2 } });
  await restarted;
  await transport.close();
});

test("a worker that crashes in the middle of its restart is replaced like any other, and the restart goes on", async () => {
  const faulty = await FaultyWorkers.make();
  const { transport, recorder } = await start(2, faulty.python);
  // What it has cannot be over before it is to drain.
  faulty.hold(pidOf(transport, 0), "token-3-of-2");
  const streams = Array.from({ length: 4 }, () => submit(transport, "slow 26"));
  await Promise.all(streams.map((stream) => stream.tokens(2)));
  const restarted = transport.restart();
  expect(transport.workers()[0]?.state).toBe("draining");
  process.kill(pidOf(transport, 0), "SIGKILL");
  await restarted;
  for (const stream of streams) expect(await stream.ending).toMatchObject({ type: "done", finishReason: "stop" });
  expect(generations(transport)).toEqual([2, 2]);
  expect(recorder.of("lost")).toHaveLength(1);
  await transport.close();
});

test("closing ends a restart that is under way", async () => {
  const { transport } = await start(1);
  const stream = submit(transport, "slow 2000");
  await stream.tokens(1);
  const restarted = transport.restart();
  const refused = expect(restarted).rejects.toMatchObject({ code: "DISPOSED" });
  await transport.close();
  await refused;
  await expect(transport.restart()).rejects.toMatchObject({ code: "DISPOSED" });
});

/**
 * An interpreter whose first `starts` processes work; those after them end with code 3 and a last word, until there is a
 * file `mended` beside it.
 */
async function pythonThatBreaksAfter(starts: number): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), "breaking-"));
  const python = join(directory, "python");
  const attempts = Array.from({ length: starts }, (_, index) => `mkdir "${directory}/${index}" 2>/dev/null`);
  const works = `exec "${await resolvePython()}" "$@"`;
  const condition = [`test -e "${directory}/mended"`, ...attempts].join(" || ");
  const script = `#!/bin/sh\nif ${condition}; then ${works}; fi\necho "the disk is gone" >&2\nexit 3\n`;
  await writeFile(python, script, { mode: 0o755 });
  return python;
}

async function startBreaking(workers: number) {
  const recorder = new Recorder();
  const python = await pythonThatBreaksAfter(workers);
  const patience = { ...limits, startFailures: 3 };
  const transport = await startScripted("normal", { python, workers, limits: patience, onEvent: recorder.onEvent });
  return { transport, recorder, mend: () => writeFile(join(python, "..", "mended"), "") };
}

const gone = { code: "WORKER_START_FAILED", message: expect.stringContaining("the disk is gone") };

test("a worker that cannot start any more is given up after its last try, and what waits hears why", async () => {
  const { transport, recorder } = await startBreaking(1);
  const streaming = submit(transport, "slow 2000");
  await streaming.tokens(1);
  process.kill(pidOf(transport), "SIGKILL");
  expect(await streaming.ending).toMatchObject({ error: gone });
  expect(recorder.of("restart").map(({ failures }) => failures)).toEqual([0, 1, 2]);
  expect(transport.workers()).toMatchObject([{ state: "failed", pid: undefined, exit: { kind: "exited", code: 3 } }]);
  expect(await submit(transport, "normal 1").ending).toMatchObject({ error: gone });
  await expect(transport.restart()).rejects.toMatchObject(gone);
  await transport.drain();
  await transport.close();
});

test("one of two workers that cannot start any more leaves everything to the other, and a restart tries it again", async () => {
  const { transport, recorder, mend } = await startBreaking(2);
  const streams = Array.from({ length: 4 }, () => submit(transport, "slow 26"));
  await Promise.all(streams.map((stream) => stream.tokens(1)));
  process.kill(pidOf(transport, 0), "SIGKILL");
  await recorder.until("state", 1, "failed");
  for (const { ending } of streams) expect(await ending).toMatchObject({ type: "done", finishReason: "stop" });
  expect(await submit(transport, "normal 1").ending).toMatchObject({ type: "done", worker: { id: "worker-1" } });
  await expect(transport.restart()).rejects.toMatchObject(gone);
  expect(transport.workers()[1]).toMatchObject({ state: "ready", generation: 1 });
  await mend();
  await transport.restart();
  expect(transport.workers()).toMatchObject([{ state: "ready" }, { state: "ready", generation: 2 }]);
  await transport.close();
});
