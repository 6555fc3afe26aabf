import { afterAll, beforeAll, expect, test } from "vitest";
import { Glimpse } from "../../sdk/client.ts";
import type { StreamEvent } from "../../sdk/index.ts";
import type { GenerationStream } from "../../sdk/stream.ts";
import { Pool } from "../chaos/pool.ts";
import { heldBytes } from "../hostile/heap.ts";

let pool: Pool;
let glm: Glimpse;
beforeAll(async () => {
  // All on one worker, so that a reader could hold up the others if anything did.
  pool = await Pool.start({ workers: 1, engine: { kind: "scripted", load: "normal", slots: 16 } });
  glm = new Glimpse(pool.transport, { allowHosts: new Set() });
});
afterAll(() => pool.close());

/** Reads one event, and then nothing: a caller that waits for something else. */
async function stall(stream: GenerationStream): Promise<AsyncIterator<StreamEvent, undefined>> {
  const iterator = stream[Symbol.asyncIterator]();
  await iterator.next();
  return iterator;
}

async function rest(iterator: AsyncIterator<StreamEvent, undefined>): Promise<StreamEvent[]> {
  const events: StreamEvent[] = [];
  for (let next = await iterator.next(); !next.done; next = await iterator.next()) events.push(next.value);
  return events;
}

function letters(count: number): string {
  return Array.from({ length: count }, (_, index) => String.fromCharCode(97 + (index % 26))).join("");
}

async function read(stream: GenerationStream): Promise<StreamEvent[]> {
  return rest(stream[Symbol.asyncIterator]());
}

// What else the machine does can only add to its time: the best of a few runs counts.
test("ten callers that stop reading slow neither the one that reads nor the worker", { retry: 4 }, async () => {
  const ended: string[] = [];
  const play = (name: string) => {
    const stream = glm.stream({ prompt: "slow 60" });
    void stream.result.then(() => ended.push(name));
    return stream;
  };
  const alone = play("alone");
  await read(alone);
  const stalled = Array.from({ length: 10 }, () => play("stalled"));
  const iterators = await Promise.all(stalled.map(stall));
  const fast = play("fast");
  const events = await read(fast);
  // They began before it and had as far to go: nobody waited for them, and it did not either.
  expect(ended).toEqual(["alone", ...Array(10).fill("stalled"), "fast"]);
  const [timeAlone, timeAmong] = [(await alone.result).timing, (await fast.result).timing];
  expect(timeAmong.totalMs).toBeLessThan(1.5 * timeAlone.totalMs);
  // It got its answer piece by piece; theirs were joined while nobody read them.
  expect(events.filter(({ type }) => type === "text").length).toBeGreaterThan(30);
  for (const iterator of iterators) {
    const unread = await rest(iterator);
    expect(unread.length).toBeLessThan(6);
    expect(unread.at(-1)).toMatchObject({ type: "finish", result: { finishReason: "stop", text: letters(60) } });
    expect(unread.map((event) => (event.type === "text" ? event.text : "")).join("")).toBe(letters(60));
  }
});

test("what callers leave unread costs no more than its text and its ids", async () => {
  const TOKENS = 2_000;
  const leaveUnread = async (streams: number) => {
    const asked = Array.from({ length: streams }, () => glm.stream({ prompt: `normal ${TOKENS}` }));
    const iterators = await Promise.all(asked.map(stall));
    await Promise.all(asked.map(({ result }) => result));
    return iterators;
  };
  await leaveUnread(1);
  const before = await heldBytes();
  const unread = await leaveUnread(10);
  // A string that grew letter by letter holds some 30 bytes for each, and there are three: text, raw and unread.
  expect((await heldBytes()) - before).toBeLessThan(10 * TOKENS * 300);
  for (const iterator of unread) expect((await rest(iterator)).length).toBeLessThan(6);
});
