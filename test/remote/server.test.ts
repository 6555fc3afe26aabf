import { describe, expect, test, vi } from "vitest";
import type { WorkerEvent, WorkerInfo } from "../../orchestrator/events.ts";
import type { RemoteTransport } from "../../orchestrator/remote/transport.ts";
import type { RequestEvent, Submission } from "../../orchestrator/transport.ts";
import { GlimpseError } from "../../protocol/errors.ts";
import { hello, open, RawClient, serve } from "./served.ts";

const submission = (id: string, rest: Partial<Submission> = {}): Submission => ({
  id,
  messages: [{ role: "user", content: [{ type: "text", text: "Hello." }] }],
  media: [],
  frames: [],
  options: { seed: 1 },
  ...rest,
});

const info: WorkerInfo = {
  id: "worker-0",
  generation: 2,
  pid: 4242,
  state: "ready",
  exit: undefined,
  placement: "cuda:0",
  load: { requests: 1, tokens: 12.5, mediaBytes: 7 },
  heartbeat: { phase: "step", steps: 3, ageMs: 1.5, running: 1, waiting: 0, memory: { process: 9, used: 5, total: 6 } },
  device: { kind: "cuda", id: "cuda:0", name: "a GPU", memoryBytes: 80 },
  model: "a model",
  engine: "paged",
  dtype: "bfloat16",
  contextLength: 100,
  slots: 4,
  kvCacheTokens: 1000,
  versions: { torch: "2" },
};

const absent = { pid: undefined, heartbeat: undefined, device: undefined, model: undefined, engine: undefined };
const lost: WorkerInfo = { ...info, ...absent, state: "waiting", exit: { kind: "signalled", signal: "SIGKILL" } };

const done = (worker: WorkerInfo | undefined = info): RequestEvent => ({
  type: "done",
  finishReason: "stop",
  usage: {
    promptTokens: 7,
    imageTokens: 0,
    cachedTokens: 2,
    cachedImageTokens: 0,
    thinkingTokens: 0,
    completionTokens: 3,
  },
  timing: { queueMs: 1, preprocessMs: 2, prefillMs: 3.5, decodeMs: 100 },
  worker,
  resumed: 1,
});

const letter = (text: string, ids = [1]): RequestEvent => ({ type: "tokens", ids, parts: [{ kind: "text", text }] });

/** All events of a request, up to its ending. */
function collect(transport: RemoteTransport, what: Submission): Promise<RequestEvent[]> {
  const events: RequestEvent[] = [];
  return new Promise((resolve) => {
    transport.submit(what, (event) => {
      events.push(event);
      if (event.type === "done" || event.type === "error") resolve(events);
    });
  });
}

const turn = () => new Promise((resolve) => setImmediate(resolve));

describe("a client of the background orchestrator", () => {
  test("hears of its request what the workers tell, and the workers get what it sent", async () => {
    const { transport, path } = await serve();
    const events: RequestEvent[] = [
      { type: "queued", position: 3 },
      { type: "warning", code: "IMAGE_PADDED", message: "padded", media: 0 },
      { type: "tokens", ids: [7, 8], parts: [{ kind: "thinking", text: "Hm" }] },
      { type: "tokens", ids: [9], parts: [{ kind: "box", image: 0, box: [1.5, 2, 3, 4] }] },
      done(),
    ];
    transport.onSubmit = ({ emit }) => {
      for (const event of events) emit(event);
    };
    const sent = submission("r", {
      media: [
        { kind: "image", bytes: 3 },
        { kind: "video", bytes: [0, 1], fps: 2 },
      ],
      frames: [new Uint8Array([1, 2, 3]), new Uint8Array(), new Uint8Array([4])],
      options: { seed: 5, temperature: 0.5, stop: ["\n"] },
      queueTimeoutMs: 20.5,
    });
    expect(await collect(await open(path), sent)).toEqual(events);
    const taken = (await transport.request("r")).submission;
    expect({ ...taken, frames: taken.frames.map((frame) => new Uint8Array(frame)) }).toEqual(sent);
  });

  test("gets the error of a worker with all that it says", async () => {
    const { transport, path } = await serve();
    const details = { hint: "Use a smaller one.", traceback: "Traceback (most recent call last)", retryAfterMs: 7.5 };
    const error = new GlimpseError("IMAGE_TOO_LARGE", "too large", details);
    transport.onSubmit = ({ emit }) => emit({ type: "error", error, media: 1 });
    const [event] = await collect(await open(path), submission("r"));
    expect(event).toEqual({ type: "error", error, media: 1 });
    expect(event).toMatchObject({ error: { code: "IMAGE_TOO_LARGE", ...details } });
  });

  test("cancels at the workers", async () => {
    const { transport, path } = await serve();
    const client = await open(path);
    const request = client.submit(submission("r"), () => {});
    await transport.request("r");
    request.cancel();
    expect(await transport.request("r", ({ cancelled }) => cancelled)).toBeDefined();
  });

  test("that closes cancels what it has on board, and nothing of others", async () => {
    const { transport, path } = await serve();
    const [leaving, staying] = [await open(path), await open(path)];
    const ended = collect(leaving, submission("leaving"));
    staying.submit(submission("staying"), () => {});
    await transport.request("staying");
    await transport.request("leaving");
    await leaving.close();
    expect((await ended).at(-1)).toMatchObject({ type: "error", error: { code: "DISPOSED" } });
    await transport.request("leaving", ({ cancelled }) => cancelled);
    expect((await transport.request("staying")).cancelled).toBe(false);
    expect((await collect(leaving, submission("late"))).at(-1)).toMatchObject({ error: { code: "DISPOSED" } });
  });

  test("whose connection breaks has its requests ended as CONNECTION_LOST, restart() too, and no workers any more", async () => {
    const { transport, path, sockets } = await serve();
    transport.infos = [info];
    const client = await open(path);
    const ended = collect(client, submission("r"));
    transport.restarting = () => new Promise(() => {});
    const restart = client.restart();
    (await transport.request("r")).emit(letter("a"));
    expect(client.workers()).toHaveLength(1);
    for (const socket of sockets) socket.destroy();
    expect((await ended).at(-1)).toMatchObject({ type: "error", error: { code: "CONNECTION_LOST" } });
    await expect(restart).rejects.toMatchObject({ code: "CONNECTION_LOST" });
    expect(client.workers()).toEqual([]);
  });

  test("that drains takes nothing more, and waits for what it has", async () => {
    const { transport, path } = await serve();
    const client = await open(path);
    const ended = collect(client, submission("r"));
    const { emit } = await transport.request("r");
    const drained = client.drain().then(() => "drained");
    expect((await collect(client, submission("late"))).at(-1)).toMatchObject({ error: { code: "DISPOSED" } });
    expect(await Promise.race([drained, turn()])).toBeUndefined();
    emit(done());
    await ended;
    expect(await drained).toBe("drained");
  });

  test("restarts the workers, and learns why one did not come back", async () => {
    const { transport, path } = await serve();
    const client = await open(path);
    await expect(client.restart()).resolves.toBeUndefined();
    transport.restarting = () => Promise.reject(new GlimpseError("DEVICE_NOT_FOUND", "gone", { hint: "Look." }));
    await expect(client.restart()).rejects.toMatchObject({ code: "DEVICE_NOT_FOUND", message: "gone", hint: "Look." });
  });

  test("that connects while the workers load waits for them", async () => {
    const { server, transport, path } = await serve({ ready: false });
    const client = await open(path);
    const ready = client.ready().then(() => "ready");
    expect(await Promise.race([ready, turn()])).toBeUndefined();
    expect(client.workers()).toEqual([]);
    await expect(client.ready(AbortSignal.abort("enough"))).rejects.toMatchObject({
      code: "ABORTED",
      message: "waiting for the background orchestrator was aborted by its signal",
      cause: "enough",
    });
    server.ready(transport);
    expect(await ready).toBe("ready");
  });

  test("learns why the workers did not start", async () => {
    const { server, path } = await serve({ ready: false });
    const client = await open(path);
    server.bye(new GlimpseError("MODEL_NOT_FOUND", "no such model", { hint: "Look." }));
    await expect(client.ready()).rejects.toMatchObject({ code: "MODEL_NOT_FOUND", hint: "Look." });
  });

  test("that submits when the orchestrator is ending is told so", async () => {
    const { server, path } = await serve();
    const client = await open(path);
    server.ending();
    expect((await collect(client, submission("r"))).at(-1)).toMatchObject({ error: { code: "NOT_RUNNING" } });
  });

  test("is refused more pictures than a request may have, and more text, before anything is sent", async () => {
    const { transport, path } = await serve();
    const client = await open(path);
    const media = Array.from({ length: 17 }, () => ({ kind: "image" as const, bytes: 64 * 1024 * 1024 }));
    const heavy = await collect(client, submission("heavy", { media }));
    expect(heavy).toMatchObject([{ type: "error", error: { code: "IMAGE_TOO_LARGE" } }]);
    const content = [{ type: "text" as const, text: "x".repeat(17 * 1024 * 1024) }];
    const long = await collect(client, submission("long", { messages: [{ role: "user", content }] }));
    expect(long).toMatchObject([{ type: "error", error: { code: "CONTEXT_TOO_LONG" } }]);
    expect(transport.requests.size).toBe(0);
  });
});

describe("what a client knows of the workers", () => {
  test("is there when it connects, and new at once when a state changes", async () => {
    const { server, transport, path } = await serve();
    transport.infos = [info];
    const client = await open(path);
    expect(client.workers()).toEqual([info]);
    transport.infos = [lost];
    const raw = new RawClient(path);
    raw.send(hello);
    await raw.until(({ type }) => type === "welcome");
    server.publish({ type: "state", worker: "worker-0", generation: 2, state: "waiting" });
    await raw.until(({ type }) => type === "workers");
    raw.socket.destroy();
    await vi.waitUntil(() => client.workers()[0]?.state === "waiting", { timeout: 30_000 });
    expect(client.workers()).toEqual([lost]);
  });

  test("comes once a second while it changes, and only then", async () => {
    vi.useFakeTimers({ toFake: ["setInterval", "clearInterval"] });
    try {
      const { transport, path } = await serve();
      transport.infos = [info];
      const raw = new RawClient(path);
      raw.send(hello);
      await raw.until(({ type }) => type === "welcome");
      vi.advanceTimersByTime(5_000);
      transport.infos = [{ ...info, load: { ...info.load, requests: 2 } }];
      vi.advanceTimersByTime(5_000);
      await raw.until((message) => message.type === "workers" && message.workers[0]?.load.requests === 2);
      expect(raw.received.filter(({ type }) => type === "workers")).toHaveLength(2);
      raw.socket.destroy();
    } finally {
      vi.useRealTimers();
    }
  });

  test("their events come to those who subscribed, as they were, until they have enough", async () => {
    const { server, path } = await serve();
    const [listening, deaf] = [await open(path), await open(path)];
    const report = {
      worker: "worker-0",
      generation: 1,
      pid: undefined,
      cause: "hung" as const,
      exit: { kind: "exited" as const, code: 1 },
      message: "It hung.",
      state: "ready" as const,
      stderr: ["a line"],
      stacks: undefined,
      running: [{ request: "r", tokens: 5 }],
    };
    const events: WorkerEvent[] = [
      { type: "loading", worker: "worker-0", stage: "weights", done: 1, total: 2 },
      { type: "log", worker: "worker-0", stream: "stderr", line: "a line" },
      { type: "lost", worker: "worker-0", report },
      { type: "restart", worker: "worker-0", inMs: 1.5, failures: 1 },
      { type: "memory held", worker: "worker-0", device: "cuda:0", processes: [1] },
      { type: "request", worker: "worker-0", request: "r", outcome: "resumed", tokens: 5 },
      { type: "state", worker: "worker-0", generation: 2, state: "starting" },
    ];
    const heard: WorkerEvent[] = [];
    const all = new Promise<void>((resolve) => {
      const unsubscribe = listening.subscribe((event) => {
        heard.push(event);
        if (heard.length < events.length) return;
        unsubscribe();
        resolve();
      });
    });
    deaf.subscribe(() => expect.fail("it has unsubscribed"))();
    // A settled call says that what was sent before it has been read.
    await Promise.all([listening.restart(), deaf.restart()]);
    for (const event of events) server.publish(event);
    await all;
    expect(heard).toEqual(events);
    await listening.restart();
    server.publish(events[0] as WorkerEvent);
    await Promise.all([listening.restart(), deaf.restart()]);
    expect(heard).toHaveLength(events.length);
  });
});

describe("a client that does not read", () => {
  const TOKENS = 100_000;
  const PER_TURN = 500;

  test("has what waits for it joined, gets every character later, and slows nobody", async () => {
    const { transport, path, sockets } = await serve();
    const slow = new RawClient(path);
    slow.send(hello);
    await slow.until(({ type }) => type === "welcome");
    slow.socket.pause();
    const [toSlow] = sockets;
    slow.send({ ...submission("slow"), id: undefined, frames: undefined, type: "submit", request: "slow" });
    const { emit: emitSlow } = await transport.request("slow");
    const fast = collect(await open(path), submission("fast"));
    const { emit: emitFast } = await transport.request("fast");

    let largest = 0;
    for (let token = 0; token < TOKENS; token++) {
      emitSlow(letter(String.fromCharCode(97 + (token % 26)), [token]));
      if (token % PER_TURN > 0) continue;
      emitFast(letter("x", [token]));
      await turn();
      largest = Math.max(largest, toSlow?.writableLength ?? 0);
    }
    emitFast(done());
    expect(await fast).toHaveLength(TOKENS / PER_TURN + 1);
    expect(slow.received.filter(({ type }) => type === "event")).toHaveLength(0);
    expect(largest).toBeGreaterThan(0);
    expect(largest).toBeLessThan(256 * 1024);

    emitSlow(done());
    slow.socket.resume();
    await slow.until((message) => message.type === "event" && message.event.type === "done");
    const tokens = slow.received.flatMap((message) =>
      message.type === "event" && message.event.type === "tokens" ? [message.event] : [],
    );
    const expected = Array.from({ length: TOKENS }, (_, token) => token);
    expect(tokens.flatMap(({ ids }) => ids)).toEqual(expected);
    const text = tokens.flatMap(({ parts }) => parts).map((part) => (part.kind === "text" ? part.text : "?"));
    expect(text.join("")).toBe(expected.map((token) => String.fromCharCode(97 + (token % 26))).join(""));
    expect(text.length).toBeLessThan(TOKENS / 10);
    slow.socket.destroy();
  });

  test("gets what waits for it before it is told that the orchestrator has ended", async () => {
    const { server, transport, path } = await serve();
    const slow = new RawClient(path);
    slow.send(hello);
    await slow.until(({ type }) => type === "welcome");
    slow.socket.pause();
    slow.send({ ...submission("slow"), id: undefined, frames: undefined, type: "submit", request: "slow" });
    const { emit } = await transport.request("slow");
    for (let token = 0; token < TOKENS; token++) emit(letter("x", [token]));
    emit(done());
    server.bye(new GlimpseError("CONNECTION_LOST", "the end"));
    slow.socket.resume();
    await slow.until(({ type }) => type === "bye");
    const events = slow.received.flatMap((message) => (message.type === "event" ? [message.event] : []));
    expect(events.flatMap((event) => (event.type === "tokens" ? event.ids : []))).toHaveLength(TOKENS);
    expect(events.at(-1)).toMatchObject({ type: "done" });
    slow.socket.destroy();
  });

  test("and never stops sending is not read any more until it reads", async () => {
    const { transport, path, sockets } = await serve();
    transport.onSubmit = ({ emit }) => emit({ type: "error", error: new GlimpseError("QUEUE_FULL", "full") });
    const greedy = new RawClient(path);
    greedy.send(hello);
    await greedy.until(({ type }) => type === "welcome");
    greedy.socket.pause();
    const [toGreedy] = sockets;
    const REQUESTS = 30_000;
    for (let request = 0; request < REQUESTS; request++) {
      const id = `r${request}`;
      greedy.send({ ...submission(id), id: undefined, frames: undefined, type: "submit", request: id });
    }
    await vi.waitUntil(() => toGreedy?.isPaused(), { timeout: 30_000 });
    expect(transport.requests.size).toBeLessThan(REQUESTS);
    greedy.socket.resume();
    await greedy.until((message) => message.type === "event" && message.request === `r${REQUESTS - 1}`);
    expect(greedy.received.filter(({ type }) => type === "event")).toHaveLength(REQUESTS);
    greedy.socket.destroy();
  });
});

describe("whoever breaks the protocol is told why, and the connection ends", () => {
  const submit = { type: "submit", request: "r", messages: [], media: [], options: { seed: 1 } };
  test.each([
    ["another version", [{ ...hello, version: "9.9.9" }], "PROTOCOL_MISMATCH", /of Glimpse .* this program of 9\.9\.9/],
    ["another protocol", [{ ...hello, protocol: 99 }], "PROTOCOL_MISMATCH", /protocol 99/],
    ["a wrong token", [{ ...hello, token: "guessed" }], "PROTOCOL_ERROR", /token/],
    ["no hello", [{ type: "shutdown", drain: false }], "PROTOCOL_ERROR", /expected hello/],
    ["a second hello", [hello, hello], "PROTOCOL_ERROR", /twice/],
    ["a first message that is long", [{ ...hello, token: "x".repeat(2000) }], "PROTOCOL_ERROR", /more than 1024/],
    ["an unknown message", [hello, { type: "paint" }], "PROTOCOL_ERROR", /type/],
    ["the same request twice", [hello, submit, submit], "PROTOCOL_ERROR", /on board already/],
  ])("%s", async (_name, messages, code, message) => {
    const { path, shutdowns, clients } = await serve();
    const client = new RawClient(path);
    for (const sent of messages) client.send(sent);
    await client.closed;
    expect(client.received.at(-1)).toMatchObject({ type: "bye", code, message: expect.stringMatching(message) });
    expect(shutdowns).toEqual([]);
    expect(clients.at(-1) ?? 0).toBe(0);
  });

  test("a request before the workers are ready", async () => {
    const { path } = await serve({ ready: false });
    const client = new RawClient(path);
    client.send(hello);
    client.send(submit);
    await client.closed;
    expect(client.received.at(-1)).toMatchObject({ type: "bye", code: "PROTOCOL_ERROR" });
  });

  test("RemoteTransport rejects with what it was told", async () => {
    const { path } = await serve();
    const { RemoteTransport } = await import("../../orchestrator/remote/transport.ts");
    await expect(RemoteTransport.open(path, "guessed")).rejects.toMatchObject({ code: "PROTOCOL_ERROR" });
  });
});
