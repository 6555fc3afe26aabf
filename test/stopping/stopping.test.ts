import { setTimeout as delay } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Transport } from "../../orchestrator/transport.ts";
import type { EngineChoice } from "../../protocol/messages.ts";
import { Glimpse } from "../../sdk/client.ts";
import type { GenerateInput } from "../../sdk/request/input.ts";
import type { GenerationStream } from "../../sdk/stream.ts";
import { Pool } from "../chaos/pool.ts";
import { Deadline } from "../deadline.ts";

const engines: { name: string; engine: EngineChoice; prompt: string }[] = [
  { name: "scripted", engine: { kind: "scripted", load: "normal" }, prompt: "slow 5000" },
  { name: "embedded", engine: { kind: "paged" }, prompt: "Count from 1 to 40." },
];

/** One step was under way when the worker heard of it, and the tokens of one were on their way to us. */
const STEPS_LATER = 2;
const HEARTBEAT_MS = 20;

// While the machine gives this process no processor for some milliseconds the worker rightly goes on: the best of a few runs
// counts.
describe.each(engines)("on the $name engine", { retry: 10 }, ({ engine, prompt }) => {
  let pool: Pool;
  let glm: Glimpse;
  let received = 0;
  beforeAll(async () => {
    pool = await Pool.start({ workers: 1, engine, limits: { heartbeatMs: HEARTBEAT_MS } });
    glm = new Glimpse(counting(pool.transport, onTokens), { allowHosts: new Set() });
    await glm.generate({ ...input(), maxNewTokens: 4 });
  });
  afterAll(() => pool.close());

  function onTokens(tokens: number): void {
    received += tokens;
  }

  /** Much longer than it is let be. */
  function input(): GenerateInput {
    return { prompt, temperature: 0, maxNewTokens: 160 };
  }

  /** The worker's own count of its steps, when it has nothing to do any more. */
  async function stepsAtRest(): Promise<number> {
    for (;;) {
      // One that was sent while the request was on board may have been read since.
      await delay(2 * HEARTBEAT_MS);
      const [worker] = pool.transport.workers();
      const beat = worker?.heartbeat;
      if (worker?.load.requests === 0 && beat?.phase === "idle" && beat.running === 0) return beat.steps;
    }
  }

  /** Reads until a few tokens have come. */
  async function readSome(stream: GenerationStream): Promise<void> {
    const iterator = stream[Symbol.asyncIterator]();
    for (let ended: boolean | undefined = false; received < 5 && !ended; ) ended = (await iterator.next()).done;
  }

  const stops: [string, { code: string } | undefined, (controller: AbortController) => Promise<GenerationStream>][] = [
    [
      "cancel()",
      undefined,
      async () => {
        const stream = glm.stream(input());
        await readSome(stream);
        stream.cancel();
        return stream;
      },
    ],
    [
      "leaving the loop",
      undefined,
      async () => {
        const stream = glm.stream(input());
        for await (const _ of stream) if (received >= 5) break;
        return stream;
      },
    ],
    [
      "a signal",
      { code: "ABORTED" },
      async (controller) => {
        const stream = glm.stream({ ...input(), signal: controller.signal });
        await readSome(stream);
        controller.abort();
        return stream;
      },
    ],
    [
      "a deadline",
      { code: "TIMEOUT" },
      async () => {
        const deadline = new Deadline();
        const stream = glm.stream({ ...input(), timeoutMs: deadline.ms });
        await readSome(stream);
        deadline.pass();
        return stream;
      },
    ],
  ];

  test.each(stops)("%s stops the tokens within the step that is under way", async (_, error, stop) => {
    const before = await stepsAtRest();
    received = 0;
    const stream = await stop(new AbortController());
    const tokens = received;
    expect(tokens).toBeGreaterThan(0);
    expect((await stepsAtRest()) - before - tokens).toBeLessThanOrEqual(STEPS_LATER);
    if (error === undefined) {
      const { finishReason, usage, tokenIds } = await stream.result;
      expect([finishReason, usage.completionTokens]).toEqual(["cancelled", tokenIds.length]);
    } else {
      await expect(stream.result).rejects.toMatchObject({ ...error, partial: { tokenIds: { length: tokens } } });
    }
  });

  test("a request that is cancelled before its first token costs one step at most", async () => {
    const before = await stepsAtRest();
    const request = pool.submit("cancelled early", {
      messages: [{ role: "user", content: [{ type: "text", text: prompt }] }],
      media: [],
      frames: [],
      options: { seed: 1, temperature: 0 },
    });
    await pool.until(() => request.events.some((event) => event.type === "queued" && event.position === 0));
    request.cancel();
    expect(await request.ended).toMatchObject({ finishReason: "cancelled" });
    expect((await stepsAtRest()) - before).toBeLessThanOrEqual(STEPS_LATER);
  });
});

/** The same transport; `onTokens` hears how many come. */
function counting(transport: Transport, onTokens: (tokens: number) => void): Transport {
  return {
    submit: (submission, onEvent) =>
      transport.submit(submission, (event) => {
        if (event.type === "tokens") onTokens(event.ids.length);
        onEvent(event);
      }),
    workers: () => transport.workers(),
    subscribe: (listener) => transport.subscribe(listener),
    drain: () => transport.drain(),
    restart: () => transport.restart(),
    close: () => transport.close(),
  };
}
