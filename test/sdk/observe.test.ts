import { AsyncLocalStorage } from "node:async_hooks";
import { subscribe, unsubscribe } from "node:diagnostics_channel";
import { afterEach, describe, expect, test, vi } from "vitest";
import { z } from "zod";
import type { WorkerEvent } from "../../orchestrator/events.ts";
import { Glimpse } from "../../sdk/client.ts";
import { launch } from "../../sdk/launch.ts";
import type { ChannelMessages } from "../../sdk/observe/channels.ts";
import { workerListeners } from "../../sdk/observe/lines.ts";
import { type Logger, type LogLevel, makeLog } from "../../sdk/observe/logger.ts";
import { AnsweringTransport, client, echo, fail, say } from "./answering-transport.ts";
import { done } from "./memory-transport.ts";

const requestChannels = ["start", "submit", "first-token", "warning", "end", "error"] as const;
const unsubscribers: (() => void)[] = [];
afterEach(() => {
  for (const leave of unsubscribers.splice(0)) leave();
  vi.restoreAllMocks();
});

function listen<Name extends keyof ChannelMessages>(name: Name, hear: (message: ChannelMessages[Name]) => void): void {
  const listener = (message: unknown): void => hear(message as ChannelMessages[Name]);
  subscribe(name, listener);
  unsubscribers.push(() => unsubscribe(name, listener));
}

test("a listener that is no function is refused at once, not thrown from the next event", () => {
  const { glm } = client();
  expect(() => glm.onEvent(3 as never)).toThrow("onEvent(): expected a function, got 3");
});

describe("diagnostics channels", () => {
  test("tell the life of a request, and nothing of what was asked", async () => {
    const { glm } = client((text, emit) => {
      emit({ type: "warning", code: "BOX_IMAGE_ASSUMED", message: "which one?" });
      echo(text, emit);
    });
    const heard: [string, object][] = [];
    for (const name of requestChannels) listen(`glimpse:request:${name}`, (message) => heard.push([name, message]));
    const result = await glm.generate({ prompt: "a secret", temperature: 0, seed: 3 });
    expect(heard.map(([name]) => name)).toEqual(["start", "submit", "warning", "first-token", "end"]);
    const [start, submit, , first, end] = heard.map(([, message]) => message);
    const { requestId } = result;
    expect(start).toEqual({ requestId, model: "embedded" });
    expect(submit).toEqual({ requestId, options: { temperature: 0, seed: 3 }, pictures: 0, bytes: 0 });
    expect(first).toEqual({ requestId, firstTokenMs: result.timing.firstTokenMs });
    expect(end).toEqual({ requestId, result });
    expect(JSON.stringify(heard)).not.toContain("a secret");
  });

  test("tell a failure as the caller gets it, also of a request that was never sent", async () => {
    const { glm } = client((_, emit) => emit(fail("GENERATION_FAILED")));
    const heard: unknown[] = [];
    listen("glimpse:request:start", ({ requestId }) => heard.push(requestId));
    listen("glimpse:request:error", ({ error }) => heard.push(error));
    const error = await glm.generate({ prompt: "a" }).catch((reason: unknown) => reason);
    const aborted = await glm.generate({ prompt: "a", signal: AbortSignal.abort() }).catch((reason: unknown) => reason);
    expect(heard).toEqual([expect.any(String), error, expect.any(String), aborted]);
  });

  test("tell of an answer with a schema what the schema says of it, once and before the caller hears", async () => {
    const { glm } = client((text, emit) => {
      emit(say(text));
      emit(done("stop"));
    });
    const output = z.object({ n: z.int().positive() });
    const heard: unknown[] = [];
    listen("glimpse:request:end", ({ result }) => heard.push(result));
    listen("glimpse:request:error", ({ error }) => heard.push(error));
    const hear = (ending: unknown) => heard.push("the caller", ending);
    await glm.generate({ prompt: '{"n":1}', output }).then(hear, hear);
    await glm.generate({ prompt: '{"n":-1}', output }).then(hear, hear);
    const [result, , first, error, , second] = heard;
    expect(heard).toEqual([result, "the caller", result, error, "the caller", error]);
    expect([first, second]).toMatchObject([{ output: { n: 1 } }, { code: "OUTPUT_INVALID" }]);
  });

  test("start in the context of the call, so that a span finds its parent", async () => {
    const { glm } = client();
    const context = new AsyncLocalStorage<string>();
    const parents: unknown[] = [];
    listen("glimpse:request:start", () => parents.push(context.getStore()));
    await context.run("the caller", () => glm.generate({ prompt: "a" }));
    expect(parents).toEqual(["the caller"]);
  });

  test("carry what happens to workers", () => {
    const heard: WorkerEvent[] = [];
    listen("glimpse:worker:state", (event) => heard.push(event));
    listen("glimpse:worker:memory-held", (event) => heard.push(event));
    const events: WorkerEvent[] = [
      { type: "state", worker: "worker-0", generation: 1, state: "ready" },
      { type: "memory held", worker: "worker-0", device: "cuda:0", processes: [1] },
    ];
    for (const event of events) for (const tell of workerListeners(undefined)) tell(event);
    expect(heard).toEqual(events);
  });
});

function recorder(): { logger: Logger; lines: string[] } {
  const lines: string[] = [];
  const at =
    (level: LogLevel) =>
    (message: string): void =>
      void lines.push(`${level} ${message}`);
  return { logger: { error: at("error"), warn: at("warn"), info: at("info"), debug: at("debug") }, lines };
}

describe("the log", () => {
  test("goes to a logger: info by default, with neither prompts nor answers", async () => {
    const { logger, lines } = recorder();
    const details = vi.spyOn(logger, "info");
    const transport = new AnsweringTransport((text, emit) =>
      text === "b" ? emit(fail("QUEUE_FULL")) : echo(text, emit),
    );
    const glm = new Glimpse(transport, { allowHosts: new Set(), log: makeLog({ logger }, {}) });
    await glm.generate({ prompt: "a secret" });
    await glm.generate({ prompt: "b" }).catch(() => {});
    await glm.generate({ prompt: "c", signal: AbortSignal.abort() }).catch(() => {});
    expect(lines).toEqual([
      "info request ended",
      "error request failed: as told",
      "info request failed: the request was aborted by its signal",
    ]);
    expect(details.mock.calls[0]?.[1]).toMatchObject({ finishReason: "stop", usage: { completionTokens: 3 } });
    expect(JSON.stringify(details.mock.calls).toLowerCase()).not.toContain("a secret");
  });

  test("does not repeat what a schema says of an answer", async () => {
    const { logger, lines } = recorder();
    const transport = new AnsweringTransport((_, emit) => {
      emit(say('"a secret"'));
      emit(done("stop"));
    });
    const glm = new Glimpse(transport, { allowHosts: new Set(), log: makeLog({ logger }, {}) });
    const output = z.string().refine(() => false, { error: ({ input }) => `it is ${input}` });
    await expect(glm.generate({ prompt: "?", output })).rejects.toThrow("it is a secret");
    expect(lines).toEqual([
      "error request failed: the answer is not what the schema describes: see issues and partial",
    ]);
  });

  test("says what happens to workers", () => {
    const { logger, lines } = recorder();
    const [, tell] = workerListeners(makeLog({ logger, logLevel: "warn" }, {}));
    tell?.({ type: "state", worker: "worker-0", generation: 1, state: "ready" });
    tell?.({ type: "state", worker: "worker-0", generation: 1, state: "failed" });
    tell?.({ type: "restart", worker: "worker-0", inMs: 999.6, failures: 1 });
    tell?.({ type: "request", request: "r", worker: "worker-0", outcome: "resumed", tokens: 5 });
    tell?.({ type: "log", worker: "worker-0", stream: "stderr", line: "hm" });
    expect(lines).toEqual([
      "error worker is failed",
      "warn worker starts again in 1000 ms",
      "warn request was resumed after its worker was lost",
    ]);
  });

  test("goes to stderr where GLIMPSE_LOG asks for it, a line each", () => {
    const write = vi.spyOn(process.stderr, "write").mockReturnValue(true);
    expect(makeLog({}, {})).toBeUndefined();
    expect(makeLog({ logger: console }, { GLIMPSE_LOG: "off" })).toBeUndefined();
    const log = makeLog({}, { GLIMPSE_LOG: "info" });
    log?.("info", "worker is ready", { worker: "worker-0" });
    log?.("debug", "request sent");
    log?.("warn", "hm");
    const lines = write.mock.calls.map(([line]) => String(line));
    expect(lines).toEqual([
      expect.stringMatching(/^\d{4}-\d\d-\d\dT[\d:.]+Z glimpse info: worker is ready {"worker":"worker-0"}\n$/),
      expect.stringMatching(/ glimpse warn: hm\n$/),
    ]);
  });

  test("the option is before the environment, and what is no level or logger is refused by name", async () => {
    const { logger, lines } = recorder();
    makeLog({ logger, logLevel: "error" }, { GLIMPSE_LOG: "debug" })?.("warn", "hm");
    expect(lines).toEqual([]);
    expect(() => makeLog({}, { GLIMPSE_LOG: "verbose" })).toThrow(
      'GLIMPSE_LOG: expected "off", "error", "warn", "info", "debug", got "verbose"',
    );
    await expect(launch({ logLevel: "all" as never })).rejects.toThrow("launch(): logLevel: expected");
    await expect(launch({ logger: { info() {} } as never })).rejects.toThrow(
      "launch(): logger: expected an object with",
    );
  });
});
