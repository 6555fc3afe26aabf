import { spawn } from "node:child_process";
import { once } from "node:events";
import { chmodSync, existsSync, lstatSync, mkdirSync, readdirSync, readFileSync, rmSync, symlinkSync } from "node:fs";
import { connect as connectSocket } from "node:net";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, describe, expect, test } from "vitest";
import { toBytes } from "../../orchestrator/remote/frames.ts";
import type { Transport } from "../../orchestrator/transport.ts";
import { Glimpse } from "../../sdk/client.ts";
import { connect } from "../../sdk/index.ts";
import { isAlive, pidOf, submit } from "../orchestrator/scripted.ts";
import { Daemons } from "./daemons.ts";
import { hello } from "./served.ts";

const daemons = new Daemons();
afterAll(() => daemons.remove());

/** Of the worker, which is not our child: it is gone as soon as the kernel says so. */
async function whenGone(pid: number): Promise<void> {
  for (const end = performance.now() + 2_000; isAlive(pid); await new Promise((resolve) => setImmediate(resolve))) {
    if (performance.now() > end) throw new Error(`process ${pid} is alive still`);
  }
}

function modeOf(path: string): string {
  return (lstatSync(path).mode & 0o777).toString(8);
}

/** Asks again and again, each time after the last answer, and resolves with the first refusal. */
async function untilRefused(transport: Transport) {
  for (;;) {
    const ending = await submit(transport, "normal 1").ending;
    if (ending.type === "error") return ending;
  }
}

describe("a background orchestrator", () => {
  test("is started once, however many start it at once, and serves all who connect", async () => {
    const ups = await Promise.all([daemons.up(), daemons.up(), daemons.up()]);
    expect(new Set(ups.map(({ welcome }) => welcome.pid)).size).toBe(1);
    expect(ups.map(({ outcome }) => outcome).sort()).toEqual(["already running", "already running", "started"]);
    const said = ups.map(async ({ transport }, index) => {
      const { text } = await new Glimpse(transport, { allowHosts: new Set() }).generate({
        prompt: `say number ${index}`,
      });
      await transport.close();
      return text;
    });
    expect(await Promise.all(said)).toEqual(["number 0", "number 1", "number 2"]);
  });

  test("stays as it is when it is asked for with other options, which are named", async () => {
    const { outcome, differences, transport } = await daemons.up({ load: "slow", idleMinutes: 5 });
    await transport.close();
    expect(outcome).toBe("already running");
    expect(differences).toEqual([
      { option: "idleMinutes", running: 0, asked: 5 },
      { option: "load", running: "normal", asked: "slow" },
    ]);
  });

  test("keeps its files to the user", async () => {
    const { directory, socket } = daemons.place();
    const modes = Object.fromEntries(readdirSync(directory).map((name) => [name, modeOf(join(directory, name))]));
    expect(modes).toEqual({
      "default.json": "600",
      "default.log": "600",
      "default.socket": "600",
      "default.token": "600",
    });
    expect(modeOf(directory)).toBe("700");
    expect(existsSync(socket)).toBe(true);
  });

  test("gives a program the same interface that launch() does, with partial results", async () => {
    await using glm = await connect();
    expect(glm.workers()).toMatchObject([{ id: "worker-0", state: "ready", engine: "scripted" }]);
    const stream = glm.stream({ prompt: "crash 3", maxNewTokens: 50 });
    stream.cancel();
    expect(await stream.result).toMatchObject({ finishReason: "cancelled" });
    const refused = glm.generate({ prompt: "oom 4" });
    await expect(refused).rejects.toMatchObject({ code: "GPU_OUT_OF_MEMORY", partial: { text: "abcd" } });
  });

  test("frees the workers of a client that is killed", async () => {
    const program = spawn(process.execPath, ["--import", "tsx", join(import.meta.dirname, "program.ts")], {
      env: { ...process.env, XDG_RUNTIME_DIR: daemons.runtime },
      stdio: ["ignore", "pipe", "inherit"],
    });
    expect(String((await once(program.stdout, "data"))[0])).toBe("streaming\n");
    const { transport } = await daemons.attach();
    const waiting = submit(transport, "normal 3");
    expect(await waiting.first).toEqual({ type: "queued", position: 4 });
    program.kill("SIGKILL");
    expect(await waiting.ending).toMatchObject({ type: "done", finishReason: "stop" });
    await transport.close();
  });

  test("outlives whatever is written to its socket", async () => {
    const { transport, welcome } = await daemons.attach();
    const running = submit(transport, "slow 2000");
    await running.tokens(1);
    const token = readFileSync(daemons.place().token, "utf8");
    const greeting = Buffer.concat(toBytes({ ...hello, token }));
    const cancel = Buffer.concat(toBytes({ type: "cancel", request: "nobody's" }));
    const mutated = fc
      .tuple(fc.constantFrom(greeting, Buffer.concat([greeting, cancel])), fc.nat(), fc.nat(255))
      .map(([bytes, at, value]) => {
        const copy = Buffer.from(bytes);
        copy[at % copy.byteLength] = value;
        return copy;
      });
    const noise = fc.uint8Array({ maxLength: 200 }).map((bytes) => Buffer.from(bytes));
    const afterHello = noise.map((bytes) => Buffer.concat([greeting, bytes]));
    const truncated = fc.nat(greeting.byteLength).map((length) => greeting.subarray(0, length));
    await fc.assert(
      fc.asyncProperty(fc.oneof(mutated, noise, afterHello, truncated), async (bytes) => {
        const socket = connectSocket(daemons.place().socket);
        socket.on("error", () => {});
        socket.resume();
        socket.end(bytes);
        await once(socket, "close");
      }),
      { numRuns: 500, seed: 5 },
    );
    running.request.cancel();
    expect(await running.ending).toMatchObject({ type: "done", finishReason: "cancelled" });
    expect((await daemons.attach()).welcome.pid).toBe(welcome.pid);
    await transport.close();
  });

  test("that is killed takes its workers along, ends requests as CONNECTION_LOST, and is no obstacle to the next", async () => {
    const { transport, welcome } = await daemons.attach();
    const worker = pidOf(transport);
    const glm = new Glimpse(transport, { allowHosts: new Set() });
    const stream = glm.stream({ prompt: "slow 2000" });
    for await (const event of stream) {
      if (event.type !== "text") continue;
      process.kill(welcome.pid, "SIGKILL");
      break;
    }
    // Leaving the loop asks for a cancel, which nobody hears any more.
    await expect(stream.result).rejects.toMatchObject({
      code: "CONNECTION_LOST",
      partial: { text: expect.stringMatching(/^a/) },
    });
    await expect(glm.generate({ prompt: "normal 1" })).rejects.toMatchObject({ code: "CONNECTION_LOST" });
    await whenGone(worker);
    // Its socket stays open while it dies, a little longer than its pid.
    await daemons.gone();
    await expect(connect()).rejects.toMatchObject({ code: "NOT_RUNNING", hint: expect.stringContaining("glimpse up") });
    const next = await daemons.up();
    expect(next.outcome).toBe("started");
    await next.transport.close();
  });

  test("ends after what it is doing, takes nothing new meanwhile, and leaves nothing but its log", async () => {
    const { transport, welcome } = await daemons.attach();
    const other = await daemons.attach();
    const worker = pidOf(transport);
    const running = submit(transport, "slow 2000");
    await running.tokens(1);
    const down = daemons.down("default", false);
    const refused = await untilRefused(other.transport);
    expect(refused).toMatchObject({ type: "error", error: { code: "NOT_RUNNING" } });
    await expect(connect()).rejects.toMatchObject({ code: "NOT_RUNNING" });
    expect(running.events.at(-1)).toMatchObject({ type: "tokens" });
    running.request.cancel();
    expect(await running.ending).toMatchObject({ type: "done", finishReason: "cancelled" });
    expect(await down).toBe("ended");
    expect([welcome.pid, worker].filter(isAlive)).toEqual([]);
    expect(readdirSync(daemons.place().directory)).toEqual(["default.log"]);
    expect(await daemons.down()).toBe("not running");
  });

  test("is ended at once where that is asked for, while another waits for its end", async () => {
    const { transport, welcome } = await daemons.up({ name: "now" });
    const worker = pidOf(transport);
    const running = submit(transport, "slow 2000");
    await running.tokens(1);
    const patient = daemons.down("now", false);
    expect(await daemons.down("now", true)).toBe("ended");
    expect(await patient).toBe("ended");
    const message = expect.stringContaining("was ended by `glimpse down`");
    expect(await running.ending).toMatchObject({ type: "error", error: { code: "CONNECTION_LOST", message } });
    expect([welcome.pid, worker].filter(isAlive)).toEqual([]);
  });

  test("ends in order by SIGTERM", async () => {
    const { transport, welcome } = await daemons.up({ name: "terminated" });
    const worker = pidOf(transport);
    const running = submit(transport, "slow 2000");
    await running.tokens(1);
    process.kill(welcome.pid, "SIGTERM");
    const message = expect.stringContaining("by a signal");
    expect(await running.ending).toMatchObject({ type: "error", error: { code: "CONNECTION_LOST", message } });
    await transport.closed();
    expect(isAlive(worker)).toBe(false);
    expect(existsSync(daemons.place("terminated").socket)).toBe(false);
  });

  test("ends by itself when nobody was connected for as long as it was told", async () => {
    const { transport } = await daemons.up({ name: "idle", idleMinutes: 0.05 / 60 });
    const worker = pidOf(transport);
    const gone = daemons.gone("idle");
    await transport.close();
    await gone;
    expect(isAlive(worker)).toBe(false);
    expect(readFileSync(daemons.place("idle").log, "utf8")).toContain("nobody was connected");
  });

  test("that nobody can reach any more, because its socket was removed, ends when its last client has left", async () => {
    const { transport } = await daemons.up({ name: "removed" });
    const gone = daemons.gone("removed");
    rmSync(daemons.place("removed").socket);
    expect(await submit(transport, "normal 1").ending).toMatchObject({ type: "done" });
    await transport.close();
    await gone;
    expect(readFileSync(daemons.place("removed").log, "utf8")).toContain("its socket was removed");
  });
});

describe("a start", () => {
  test("that fails says why, and leaves nothing running", async () => {
    await expect(daemons.up({ name: "failing", load: "fail" })).rejects.toMatchObject({
      code: "MODEL_NOT_FOUND",
    });
    expect(await daemons.down("failing")).toBe("not running");
    expect(existsSync(daemons.place("failing").socket)).toBe(false);
  });

  test("that is interrupted leaves nothing running", async () => {
    const interrupted = new AbortController();
    const up = daemons.up({
      name: "interrupted",
      load: "hang",
      signal: interrupted.signal,
      onEvent: (event) => event.type === "state" && interrupted.abort(),
    });
    await expect(up).rejects.toMatchObject({ code: "ABORTED" });
    expect(await daemons.down("interrupted")).toBe("not running");
  });

  test("is refused where others could put a socket of theirs", async () => {
    const open = new Daemons();
    const { directory } = open.place();
    mkdirSync(directory);
    chmodSync(directory, 0o755);
    await expect(open.up()).rejects.toMatchObject({
      code: "WORKER_START_FAILED",
      message: expect.stringContaining("mode 0755, expected 0700"),
    });
    await expect(open.attach()).rejects.toMatchObject({
      code: "NOT_RUNNING",
      hint: expect.stringContaining("chmod 700"),
    });
    rmSync(directory, { recursive: true });
    mkdirSync(join(open.runtime, "elsewhere"), { mode: 0o700 });
    symlinkSync(join(open.runtime, "elsewhere"), directory);
    await expect(open.up()).rejects.toMatchObject({
      code: "WORKER_START_FAILED",
      message: expect.stringContaining("no directory"),
    });
    await open.remove();
  });
});
