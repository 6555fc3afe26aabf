import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Readable } from "node:stream";
import { afterAll, describe, expect, test, vi } from "vitest";
import { IdleLimit } from "../../orchestrator/background/idle.ts";
import { Log } from "../../orchestrator/background/log.ts";
import { placeOf } from "../../orchestrator/background/place.ts";
import { readStartLine, summaryOf } from "../../orchestrator/background/start-line.ts";
import { readState } from "../../orchestrator/background/state.ts";
import { connect } from "../../sdk/index.ts";

const directory = mkdtempSync(join(tmpdir(), "glimpse-test-"));
afterAll(() => rmSync(directory, { recursive: true }));

describe("the place of a background orchestrator", () => {
  test("is the user's runtime directory, one set of files per name", () => {
    const place = placeOf("night-shift", { XDG_RUNTIME_DIR: "/run/user/7" });
    expect(place.socket).toBe("/run/user/7/glimpse/night-shift.socket");
    expect(place.token).toBe("/run/user/7/glimpse/night-shift.token");
  });

  test.each([
    ["there is no runtime directory", {}],
    ["it is a relative path", { XDG_RUNTIME_DIR: "run" }],
    ["the path of the socket would be too long", { XDG_RUNTIME_DIR: `/${"x".repeat(100)}` }],
  ])("is a directory of the user's own among temporary files where %s", (_name, env) => {
    const { directory: own, socket } = placeOf("default", env);
    expect(own).toContain(`glimpse-user-${process.getuid?.()}`);
    expect(socket.length).toBeLessThanOrEqual(103);
  });

  test.each(["", "../other", "a b", "-x", "x".repeat(33)])("is refused for the name %j", async (name) => {
    await expect(connect({ name })).rejects.toMatchObject({
      code: "INVALID_REQUEST",
      message: expect.stringMatching(/^name: expected/),
    });
  });

  test("without a readable state file has no state", () => {
    expect(readState(placeOf("default", { XDG_RUNTIME_DIR: directory }))).toBeUndefined();
  });
});

test.each([
  [{ name: 5 }, "connect(): name: expected the name of a background orchestrator, got 5"],
  [{ allowHosts: "x:1" }, 'connect(): allowHosts: expected an array of "host:port"'],
  [{ model: "x" }, "connect(): expected only name, allowHosts, "],
])("connect(%j) names the option that is wrong", async (options, message) => {
  await expect(connect(options as object)).rejects.toMatchObject({
    code: "INVALID_REQUEST",
    message: expect.stringContaining(message),
  });
});

describe("the idle limit", () => {
  const limit = (milliseconds: number) => {
    vi.useFakeTimers();
    const onIdle = vi.fn();
    const idle = new IdleLimit(milliseconds, onIdle);
    return { idle, onIdle };
  };

  test("passes when nobody was connected for so long, counted from the last who left", () => {
    const { idle, onIdle } = limit(1000);
    idle.clients(0);
    vi.advanceTimersByTime(999);
    idle.clients(1);
    vi.advanceTimersByTime(10_000);
    idle.clients(2);
    idle.clients(1);
    vi.advanceTimersByTime(10_000);
    idle.clients(0);
    vi.advanceTimersByTime(999);
    expect(onIdle).not.toHaveBeenCalled();
    vi.advanceTimersByTime(1);
    expect(onIdle).toHaveBeenCalledTimes(1);
    vi.useRealTimers();
  });

  test.each([0, 2 ** 31, Number.POSITIVE_INFINITY])("of %d never passes", (milliseconds) => {
    const { idle, onIdle } = limit(milliseconds);
    idle.clients(0);
    vi.advanceTimersByTime(2 ** 30);
    expect(onIdle).not.toHaveBeenCalled();
    expect(vi.getTimerCount()).toBe(0);
    vi.useRealTimers();
  });
});

test("the log never takes more than twice its limit, and keeps the newest", () => {
  const path = join(directory, "log");
  const log = new Log(path, 1000);
  for (let line = 0; line < 1000; line++) log.write(`line ${line}`);
  const [old, now] = [readFileSync(`${path}.1`, "utf8"), readFileSync(path, "utf8")];
  expect(old.length + now.length).toBeLessThan(2200);
  const all = (old + now).match(/line \d+/g);
  expect(all?.at(-1)).toBe("line 999");
  expect(all?.length).toBeGreaterThan(20);
  expect(new Log(path, 1000)).toBeDefined();
});

describe("the line that tells a background orchestrator what to do", () => {
  test("is read from stdin, whose end lets it begin, and its secrets are not told to clients", async () => {
    const input = new Readable({ read() {} });
    const sent = { launch: { model: "m", workers: ["cuda:0"] }, hubToken: "secret", idleMinutes: 5 };
    input.push(`${JSON.stringify(sent)}\n`);
    const { line, begin } = await readStartLine(input);
    expect(line).toEqual({ name: "default", ...sent });
    expect(JSON.stringify(summaryOf(line))).not.toContain("secret");
    expect(await Promise.race([begin, new Promise((resolve) => setImmediate(() => resolve("waits")))])).toBe("waits");
    input.push(null);
    await begin;
  });

  test.each(["", "no JSON\n", "{}\n"])("is refused if it is %j", async (text) => {
    await expect(readStartLine(Readable.from([text]))).rejects.toMatchObject({ code: "INVALID_REQUEST" });
  });
});
