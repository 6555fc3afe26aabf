// What the HTTP clients of other models get wrong (docs/CLIENTS.md, "Measured behaviour"), on a real worker process.
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Transport } from "../../orchestrator/transport.ts";
import { GlimpseError } from "../../protocol/errors.ts";
import { Glimpse } from "../../sdk/client.ts";
import type { StreamEvent } from "../../sdk/index.ts";
import { pidOf, startScripted } from "../orchestrator/scripted.ts";

let transport: Transport;
let glm: Glimpse;
beforeAll(async () => {
  transport = await startScripted("normal", {
    onWorkerLoss: "fail",
    limits: { backoffMs: 1, stepMs: 2_000, dumpMs: 100 },
  });
  glm = new Glimpse(transport, { allowHosts: new Set() });
});
afterAll(() => glm.close());

async function failureOf(work: Promise<unknown>): Promise<GlimpseError> {
  const ending = await work.then(
    () => "ended silently",
    (error: unknown) => error,
  );
  if (!GlimpseError.is(ending)) throw new Error(`expected a GlimpseError, got ${ending}`);
  return ending as GlimpseError;
}

async function drain(stream: AsyncIterable<unknown>): Promise<void> {
  for await (const _ of stream);
}

/** Reads one request of each kind: whole, by its events, by its text; all have to fail with `code`. */
async function failsLoudly(
  prompt: string,
  code: string,
  options: { signal?: () => AbortSignal } = {},
): Promise<GlimpseError[]> {
  const input = () => ({ prompt, signal: options.signal?.() });
  const failures: GlimpseError[] = [];
  for (const read of [
    () => glm.generate(input()),
    () => drain(glm.stream(input())),
    () => drain(glm.stream(input()).textStream),
  ]) {
    failures.push(await failureOf(read()));
  }
  expect(failures.map((failure) => failure.code)).toEqual([code, code, code]);
  for (const failure of failures)
    expect(failure).toMatchObject({ name: "GlimpseError", requestId: expect.any(String) });
  return failures;
}

const letters = "abcdefghijklmnopqrstuvwxyz";

describe("break", () => {
  test("frees the worker: it generates hardly more than was read", async () => {
    const stream = glm.stream({ prompt: "slow 2000" });
    let read = 0;
    for await (const event of stream) if (event.type === "text" && ++read === 5) break;
    const { finishReason, usage } = await stream.result;
    expect(finishReason).toBe("cancelled");
    // A token takes 20 ms; the rest of 2000 would take 40 s.
    expect(usage.completionTokens).toBeLessThan(200);
    // Its place is free.
    expect((await glm.generate({ prompt: "say free" })).text).toBe("free");
    expect(glm.workers()[0]?.load.requests).toBe(0);
  });
});

describe("an abort in mid-stream", () => {
  test("throws ABORTED, with what there is", async () => {
    const aborted = () => {
      const controller = new AbortController();
      setTimeout(() => controller.abort(new Error("enough")), 150);
      return controller.signal;
    };
    for (const failure of await failsLoudly("slow 2000", "ABORTED", { signal: aborted })) {
      expect(failure.cause).toEqual(new Error("enough"));
      expect(letters.repeat(80).startsWith(failure.partial?.text ?? "?")).toBe(true);
    }
  });
});

describe("an error in mid-stream", () => {
  test("is thrown with its code, after what was generated", async () => {
    for (const failure of await failsLoudly("oom 20", "GPU_OUT_OF_MEMORY")) {
      expect(failure.partial?.text).toBe(letters.slice(0, 20));
      expect(failure.hint).not.toBe("");
    }
  });
});

describe("a worker that fails before the first token", () => {
  test("is thrown as WORKER_LOST", async () => {
    for (const failure of await failsLoudly("crash 0", "WORKER_LOST")) expect(failure.partial?.text).toBe("");
  });

  test("and so is what it refuses", async () => {
    await failsLoudly("no such script", "INVALID_REQUEST");
  });
});

describe("a worker that dies", () => {
  test("by itself is thrown as WORKER_LOST, with what there is", async () => {
    for (const failure of await failsLoudly("crash 20", "WORKER_LOST")) {
      expect(failure).toMatchObject({ retryable: true, partial: { text: letters.slice(0, 20) } });
    }
  });

  test("by kill -9 is thrown as WORKER_LOST", async () => {
    const stream = glm.stream({ prompt: "slow 2000" });
    let pid: number | undefined;
    const loop = async () => {
      for await (const event of stream) {
        if (event.type !== "thinking" || pid !== undefined) continue;
        pid = pidOf(transport);
        process.kill(pid, "SIGKILL");
      }
    };
    const failure = await failureOf(loop());
    expect(failure).toMatchObject({ code: "WORKER_LOST", message: expect.stringContaining("SIGKILL") });
    expect(await failureOf(stream.result)).toBe(failure);
  });
});

describe("a stream without its end", () => {
  test("because the worker exits by itself is thrown as WORKER_LOST", async () => {
    for (const failure of await failsLoudly("exit 20", "WORKER_LOST")) {
      expect(failure.partial?.text).toBe(letters.slice(0, 20));
    }
  });

  test("because the worker hangs is thrown as WORKER_LOST", async () => {
    const failure = await failureOf(drain(glm.stream({ prompt: "hang 20" }).textStream));
    expect(failure).toMatchObject({ code: "WORKER_LOST", partial: { text: letters.slice(0, 20) } });
  });

  test("because what comes is no message is thrown as WORKER_LOST", async () => {
    const failure = await failureOf(drain(glm.stream({ prompt: "babble 20" }).textStream));
    expect(failure).toMatchObject({ code: "WORKER_LOST", partial: { text: letters.slice(0, 20) } });
  });
});

describe("a slow reader", () => {
  test("costs bounded memory, slows nobody, and loses nothing", async () => {
    const stream = glm.stream({ prompt: "normal 1000" });
    const events: StreamEvent[] = [];
    for await (const event of stream) {
      events.push(event);
      // The worker goes on to its end meanwhile.
      if (events.length === 1) await stream.result;
    }
    const text = events.map((event) => (event.type === "text" ? event.text : "")).join("");
    expect(text).toBe(letters.repeat(39).slice(0, 1000));
    // A thousand tokens came while nobody read; neighbours became one.
    expect(events.length).toBeLessThan(10);
  });
});
