import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdir, mkdtemp, readdir, utimes, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { Worker as Thread } from "node:worker_threads";
import { expect, test } from "vitest";
import type { WorkerEvent } from "../../orchestrator/events.ts";
import { resolvePython } from "../../orchestrator/python/resolve.ts";
import { GlimpseError } from "../../protocol/errors.ts";
import { hello, Impostors, ready } from "../hostile/impostor.ts";
import { isAlive, ownWorkers, pidOf, Recorder, startScripted, submit } from "./scripted.ts";

// Nobody else's sockets are in it.
process.env["TMPDIR"] = await mkdtemp(join(tmpdir(), "tests-"));

const failure = (promise: Promise<unknown>): Promise<GlimpseError> =>
  promise.then(
    () => {
      throw new Error("expected a failure");
    },
    (error: unknown) => {
      if (GlimpseError.is(error)) return error;
      throw error;
    },
  );

test("where nothing may go on elsewhere, a worker that crashes ends what it has by name, and the next one serves", async () => {
  const events: WorkerEvent[] = [];
  const transport = await startScripted("normal", { onWorkerLoss: "fail", onEvent: (event) => events.push(event) });
  const running = submit(transport, "slow 2000");
  await running.tokens(1);
  const crashing = submit(transport, "crash 3");
  for (const { ending } of [running, crashing]) {
    expect(await ending).toMatchObject({ type: "error", error: { code: "WORKER_LOST", retryable: true } });
  }
  expect(await submit(transport, "normal 1").ending).toMatchObject({ type: "done", worker: { generation: 2 } });
  expect(events.find((event) => event.type === "lost")).toMatchObject({
    report: { cause: "exited", exit: { kind: "signalled", signal: "SIGSEGV" }, state: "ready", generation: 1 },
  });
  await transport.close();
  expect(await submit(transport, "normal 1").ending).toMatchObject({ error: { code: "DISPOSED" } });
});

test("a worker that sends garbage is ended, and the one at fault fails by name", async () => {
  const transport = await startScripted("normal", { onWorkerLoss: "fail" });
  const pid = pidOf(transport);
  const running = submit(transport, "slow 2000");
  await running.tokens(1);
  const babbling = { code: "WORKER_LOST", message: expect.stringContaining("no message") };
  expect(await submit(transport, "babble 3").ending).toMatchObject({ error: babbling });
  expect(await running.ending).toMatchObject({ error: babbling });
  await transport.close();
  expect(isAlive(pid)).toBe(false);
});

test("a request that breaks the device fails by name; the others hear that the worker is lost, and why", async () => {
  const transport = await startScripted("normal", { onWorkerLoss: "fail" });
  const running = submit(transport, "slow 2000");
  await running.tokens(1);
  expect(await submit(transport, "poison 3").ending).toMatchObject({ error: { code: "GENERATION_FAILED" } });
  expect(await running.ending).toMatchObject({
    error: { code: "WORKER_LOST", message: expect.stringContaining("the engine broke") },
  });
  await transport.close();
});

test("a request that ends every worker it meets is found out alone, and the others never notice", async () => {
  const transport = await startScripted("normal", { limits: { backoffMs: 10 } });
  const innocent = ["normal 40", "say hello", "slow 60"].map((script) => submit(transport, script));
  expect(await submit(transport, "crash 3").ending).toMatchObject({ error: { code: "POISON_REQUEST" } });
  for (const { ending } of innocent) expect(await ending).toMatchObject({ type: "done", finishReason: "stop" });
  await transport.close();
});

test("closing ends what runs as DISPOSED, a hanging worker too, and leaves no process and no socket", async () => {
  const transport = await startScripted();
  const pid = pidOf(transport);
  const hanging = submit(transport, "hang 3");
  await hanging.tokens(3);
  await transport.close();
  expect(await hanging.ending).toMatchObject({ error: { code: "DISPOSED" } });
  expect(isAlive(pid)).toBe(false);
  expect(transport.workers()).toMatchObject([{ state: "stopped", exit: { kind: "exited", code: 0 } }]);
  expect((await readdir(tmpdir())).filter((name) => name.startsWith("glimpse-"))).toEqual([]);
  await transport.close();
});

test("a model that cannot be loaded is a named error with the worker's own words", async () => {
  const error = await failure(startScripted("fail"));
  expect(error.code).toBe("MODEL_NOT_FOUND");
  expect(error.hint).toBeTruthy();
});

test("a worker that dies while it loads is an error that says how", async () => {
  const error = await failure(startScripted("crash"));
  expect(error).toMatchObject({
    code: "WORKER_START_FAILED",
    message: expect.stringMatching(/exited with code|ended by/),
  });
});

test("loading is told stage by stage", async () => {
  const events: WorkerEvent[] = [];
  const transport = await startScripted("slow", { onEvent: (event) => events.push(event) });
  await transport.close();
  expect(events.filter((event) => event.type === "loading").map((event) => event.stage)).toContain("weights");
  const states = events.filter((event) => event.type === "state").map((event) => event.state);
  expect(states).toEqual(["starting", "loading", "ready", "stopping", "stopped"]);
});

test("a launch that hangs can be aborted, and nothing stays behind", async () => {
  const controller = new AbortController();
  const started = startScripted("hang", {
    signal: controller.signal,
    onEvent: (event) => {
      if (event.type === "state" && event.state === "loading") controller.abort(new Error("too slow"));
    },
  });
  expect(await failure(started)).toMatchObject({ code: "ABORTED", cause: new Error("too slow") });
  expect(ownWorkers()).toEqual([]);
});

test("a launch can be aborted before there is a worker", async () => {
  const controller = new AbortController();
  const options = { python: await resolvePython(), signal: controller.signal };
  const started = failure(startScripted("normal", options));
  controller.abort(new Error("too slow"));
  expect(await started).toMatchObject({ code: "ABORTED", cause: new Error("too slow") });
  expect(ownWorkers()).toEqual([]);
});

test("a model that is loaded only when the worker's end is decided does not pass for a launch", async () => {
  const impostors = new Impostors();
  const { python } = impostors;
  const recorder = new Recorder();
  const launched = failure(
    startScripted("normal", { python, limits: { loadingMs: 50, dumpMs: 1_500 }, onEvent: recorder.onEvent }),
  );
  const worker = await impostors.next();
  await worker.control.send(hello(worker.start));
  await recorder.until("state", 1, "stuck");
  await worker.control.send(ready);
  expect(await launched).toMatchObject({ code: "WORKER_START_FAILED", message: expect.stringContaining("hung") });
  impostors.leave();
});

test("a signal that has fired already starts nothing", async () => {
  const events: WorkerEvent[] = [];
  const onEvent = (event: WorkerEvent) => events.push(event);
  const started = startScripted("normal", { signal: AbortSignal.abort(), onEvent });
  expect(await failure(started)).toMatchObject({ code: "ABORTED" });
  expect(events).toEqual([]);
  expect(ownWorkers()).toEqual([]);
});

test("an interpreter that cannot be started is a named error", async () => {
  expect(await failure(startScripted("normal", { python: "/no/such/python" }))).toMatchObject({
    code: "WORKER_START_FAILED",
    message: expect.stringContaining("/no/such/python"),
  });
});

test("a Python without the packages to speak with is PYTHON_DEPS_MISSING", async () => {
  const directory = await mkdtemp(join(tmpdir(), "bare-python-"));
  const python = join(directory, "python");
  await writeFile(
    python,
    "#!/bin/sh\nexec python3 -S -E -c 'import sys; sys.stderr.write(\"no zmq\\n\"); sys.exit(78)'\n",
    {
      mode: 0o755,
    },
  );
  expect(await failure(startScripted("normal", { python }))).toMatchObject({
    code: "PYTHON_DEPS_MISSING",
    message: expect.stringContaining("no zmq"),
    hint: expect.stringContaining("npx glimpse setup"),
  });
});

test.each(["protocol=99", "token=guessed", "generation=7"])(
  "a stranger on the worker's socket is turned away: %s",
  async (field) => {
    const directory = await mkdtemp(join(tmpdir(), "stranger-"));
    const python = join(directory, "python");
    const program = new URL("./wrong_hello.py", import.meta.url).pathname;
    await writeFile(python, `#!/bin/sh\nexec "${await resolvePython()}" "${program}" ${field}\n`, { mode: 0o755 });
    expect(await failure(startScripted("normal", { python }))).toMatchObject({ code: "PROTOCOL_MISMATCH" });
    expect(ownWorkers()).toEqual([]);
  },
);

test("launching in a worker_thread is refused, because the worker would die with the thread", async () => {
  const code = `
    import("tsx/esm/api")
      .then(({ register }) => register())
      .then(() => import("${new URL("./scripted.ts", import.meta.url).href}"))
      .then(({ startScripted }) => startScripted())
      .catch((error) => require("node:worker_threads").parentPort.postMessage(error.code));
  `;
  const thread = new Thread(code, { eval: true });
  expect(await new Promise((resolve) => thread.once("message", resolve))).toBe("PLATFORM_UNSUPPORTED");
  await thread.terminate();
});

test("the sockets of a process that was killed are taken away by the next one", async () => {
  const dead = await mkdtemp(join(tmpdir(), "glimpse-"));
  await deadSocket(join(dead, "control"));
  await age(dead);
  await (await startScripted()).close();
  expect(await readdir(tmpdir())).not.toContain(basename(dead));
});

test("a directory of somebody else's that looks alike is left alone", async () => {
  const named = join(tmpdir(), "glimpse-my-experiment");
  const alike = await mkdtemp(join(tmpdir(), "glimpse-"));
  for (const directory of [named, alike]) {
    await mkdir(join(directory, "control"), { recursive: true });
    await writeFile(join(directory, "control", "thesis.txt"), "years of work");
    await age(directory);
  }
  await (await startScripted()).close();
  for (const directory of [named, alike]) expect(await readdir(join(directory, "control"))).toEqual(["thesis.txt"]);
});

test("a callback of the caller's that throws keeps no request from its ending", async () => {
  const thrown: unknown[] = [];
  const listeners = process.listeners("uncaughtException");
  process.removeAllListeners("uncaughtException");
  process.on("uncaughtException", (error) => thrown.push(error));
  try {
    const transport = await startScripted("normal", {
      onEvent: (event) => {
        if (event.type === "lost") throw new Error("the caller's own");
      },
      onWorkerLoss: "fail",
    });
    expect(await submit(transport, "crash 1").ending).toMatchObject({ error: { code: "WORKER_LOST" } });
    await transport.close();
    expect(thrown).toEqual([new Error("the caller's own")]);
  } finally {
    process.removeAllListeners("uncaughtException");
    for (const listener of listeners) process.on("uncaughtException", listener);
  }
});

test("a TMPDIR that does not exist is a named error", async () => {
  const before = process.env["TMPDIR"];
  process.env["TMPDIR"] = "/no/such/directory";
  try {
    expect(await failure(startScripted())).toMatchObject({
      code: "WORKER_START_FAILED",
      hint: expect.stringContaining("TMPDIR"),
    });
  } finally {
    process.env["TMPDIR"] = before;
  }
});

/** A socket whose owner is gone: the file stays when a process is killed. */
async function deadSocket(path: string): Promise<void> {
  const code = `require("node:net").createServer().listen(${JSON.stringify(path)}, () => process.kill(process.pid, "SIGKILL"))`;
  await once(spawn(process.execPath, ["-e", code]), "exit");
}

async function age(directory: string): Promise<void> {
  const longAgo = new Date(Date.now() - 3_600_000);
  await utimes(directory, longAgo, longAgo);
}
