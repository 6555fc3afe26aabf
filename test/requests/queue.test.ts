import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { EndingRate, RequestQueue } from "../../orchestrator/requests/queue.ts";

interface Item {
  sequence: number;
}

const item = (sequence: number): Item => ({ sequence });
const sequences = (queue: RequestQueue<Item>) => [...queue].map(({ sequence }) => sequence);

function filled(count: number): { queue: RequestQueue<Item>; items: Item[] } {
  const queue = new RequestQueue<Item>(count);
  const items = Array.from({ length: count }, (_, index) => item(index));
  for (const one of items) queue.admit(one);
  return { queue, items };
}

describe("the queue", () => {
  test("keeps the order of acceptance and refuses what is beyond its limit", () => {
    const queue = new RequestQueue<Item>(2);
    expect([1, 2, 3].map((sequence) => queue.admit(item(sequence)))).toEqual(["admitted", "admitted", "full"]);
    expect(sequences(queue)).toEqual([1, 2]);
    expect(queue.length).toBe(2);
  });

  test("takes back what a lost worker had, full or not, before all that never ran", () => {
    const queue = new RequestQueue<Item>(2);
    for (const sequence of [4, 5]) queue.admit(item(sequence));
    for (const sequence of [3, 1, 2]) queue.giveBack(item(sequence));
    expect(sequences(queue)).toEqual([1, 2, 3, 4, 5]);
    expect(queue.admit(item(6))).toBe("full");
  });

  test("says whether it held what is removed", () => {
    const { queue, items } = filled(3);
    const [first] = items;
    expect(first && queue.remove(first)).toBe(true);
    expect(first && queue.remove(first)).toBe(false);
    // Another one with the same sequence is not it.
    expect(queue.remove(item(1))).toBe(false);
    expect(sequences(queue)).toEqual([1, 2]);
  });

  test("can be emptied while it is gone through, and skips none", () => {
    const { queue } = filled(6);
    const boarded = [];
    for (const one of queue) {
      if (one.sequence % 3 !== 1 && queue.remove(one)) boarded.push(one.sequence);
    }
    expect(boarded).toEqual([0, 2, 3, 5]);
    expect(sequences(queue)).toEqual([1, 4]);
  });

  test("visits nothing twice when something is given back meanwhile", () => {
    const { queue } = filled(3);
    const visited = [];
    for (const one of queue) {
      visited.push(one.sequence);
      if (one.sequence === 1) queue.giveBack(item(-1));
    }
    expect(visited).toEqual([0, 1, 2]);
  });

  test("holds what a list sorted by acceptance would hold, whatever comes and goes", () => {
    const step = fc.oneof(
      fc.constant("admit" as const),
      fc.record({ remove: fc.nat(30) }),
      fc.record({ board: fc.nat(5) }),
      fc.constant("lose" as const),
    );
    fc.assert(
      fc.property(fc.nat(12), fc.array(step, { maxLength: 60 }), (limit, steps) => {
        const queue = new RequestQueue<Item>(limit);
        let model: Item[] = [];
        let onBoard: Item[] = [];
        for (const [sequence, what] of steps.entries()) {
          if (what === "admit") {
            const admitted = item(sequence);
            expect(queue.admit(admitted)).toBe(model.length < limit ? "admitted" : "full");
            if (model.length < limit) model.push(admitted);
          } else if (what === "lose") {
            for (const one of onBoard) queue.giveBack(one);
            model = [...onBoard, ...model].sort((one, other) => one.sequence - other.sequence);
            onBoard = [];
          } else {
            const leaving = "board" in what ? model.slice(0, what.board) : model.slice(what.remove, what.remove + 1);
            for (const one of leaving) expect(queue.remove(one)).toBe(true);
            model = model.filter((one) => !leaving.includes(one));
            if ("board" in what) onBoard.unshift(...leaving);
          }
          expect([...queue]).toEqual(model);
          expect(queue.length).toBe(model.length);
        }
      }),
    );
  });

  test("of 10,000 boards, takes back and cancels each of them in no time", () => {
    const { queue, items } = filled(10_000);
    const began = process.cpuUsage();
    for (const one of queue) queue.remove(one);
    for (const one of items.toReversed()) queue.giveBack(one);
    for (let index = 0; index < items.length; index += 1) {
      // From everywhere: 7,919 and 10,000 have no common factor.
      const one = items[(index * 7_919) % items.length];
      if (one !== undefined) queue.remove(one);
    }
    expect(queue.length).toBe(0);
    expect(process.cpuUsage(began).user).toBeLessThan(500_000);
  });
});

describe("the hint of a full queue", () => {
  function rate(...endings: number[]): EndingRate {
    const endingRate = new EndingRate();
    for (const now of endings) endingRate.ended(now);
    return endingRate;
  }

  test.each([
    ["nothing has ended yet", rate(), 10, 0, 5_000],
    ["one ending tells no rate", rate(1_000), 10, 1_000, 5_000],
    ["one a second, ten wait", rate(0, 1_000, 2_000), 10, 2_000, 10_000],
    ["it slows down while none ends", rate(0, 1_000, 2_000), 10, 4_000, 20_000],
    ["all at once", rate(5, 5, 5), 10, 5, 100],
    ["a long queue", rate(0, 1_000, 2_000), 10_000, 2_000, 60_000],
    ["after an idle night nothing is known", rate(0, 1_000, 2_000), 10, 40_000_000, 5_000],
  ])("%s", (_, endings, waiting, now, expected) => {
    expect(endings.retryAfterMs(waiting, now)).toBe(expected);
  });

  test("forgets how it was long ago", () => {
    const slow = Array.from({ length: 5 }, (_, index) => index * 5_000);
    const quick = Array.from({ length: 64 }, (_, index) => 20_000 + index * 10);
    expect(rate(...slow, ...quick).retryAfterMs(100, 20_630)).toBe(1_000);
  });

  test("is between 100 ms and 60 s, and no shorter for more that wait", () => {
    const gaps = fc.array(fc.nat(20_000), { maxLength: 100 });
    fc.assert(
      fc.property(gaps, fc.nat(20_000), fc.nat(20_000), fc.nat(200_000), (all, waiting, more, pause) => {
        const endingRate = new EndingRate();
        let now = 0;
        for (const gap of all) {
          now += gap;
          endingRate.ended(now);
        }
        const hint = endingRate.retryAfterMs(waiting, now + pause);
        expect(hint).toBeGreaterThanOrEqual(100);
        expect(hint).toBeLessThanOrEqual(60_000);
        expect(endingRate.retryAfterMs(waiting + more, now + pause)).toBeGreaterThanOrEqual(hint);
      }),
    );
  });
});
