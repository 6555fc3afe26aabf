import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type Candidate, type Routable, route } from "../../orchestrator/requests/route.ts";

const MiB = 1024 * 1024;

function worker(id: string, parts: Partial<Candidate> = {}): Candidate {
  return { id, free: 4, outstanding: 0, mediaRoom: 64 * MiB, onBoard: 0, share: 0, ...parts };
}

function request(parts: Partial<Routable> = {}): Routable {
  return { tokens: 600, mediaBytes: MiB, alone: false, ...parts };
}

test.each<[what: string, request: Routable, workers: Candidate[], chosen: string | undefined]>([
  ["with no worker, none", request(), [], undefined],
  ["among equals, the first", request(), [worker("a"), worker("b")], "a"],
  [
    "the one with the least outstanding",
    request(),
    [worker("a", { outstanding: 900, onBoard: 1 }), worker("b", { outstanding: 800, onBoard: 3 })],
    "b",
  ],
  [
    "at equal work, the one with fewer on board",
    request(),
    [worker("a", { outstanding: 900, onBoard: 3 }), worker("b", { outstanding: 900, onBoard: 1 })],
    "b",
  ],
  ["not the one without a slot", request(), [worker("a", { free: 0 }), worker("b", { outstanding: 9_000 })], "b"],
  [
    "not the one whose credit the media exceed",
    request(),
    [worker("a", { mediaRoom: MiB - 1, onBoard: 1 }), worker("b", { outstanding: 9_000, onBoard: 9 })],
    "b",
  ],
  [
    "the one that has seen the picture, while it is ahead by what that saves",
    request(),
    [worker("a"), worker("b", { outstanding: 600, share: 1 })],
    "b",
  ],
  ["the other one beyond that", request(), [worker("a"), worker("b", { outstanding: 601, share: 1 })], "a"],
  [
    "half the pictures seen saves half",
    request(),
    [worker("a"), worker("b", { outstanding: 301, share: 0.5 }), worker("c", { outstanding: 299, share: 0.5 })],
    "c",
  ],
  ["a suspect boards only an empty worker", request({ alone: true }), [worker("a", { onBoard: 1 })], undefined],
  [
    "even if that has not seen its pictures",
    request({ alone: true }),
    [worker("a", { onBoard: 1, share: 1 }), worker("b", { outstanding: 0 })],
    "b",
  ],
  [
    "media beyond the whole credit wait while others are on board",
    request({ mediaBytes: 100 * MiB }),
    [worker("a", { onBoard: 1 })],
    undefined,
  ],
  ["and board an empty worker", request({ mediaBytes: 100 * MiB }), [worker("a")], "a"],
  [
    "or one with no media in flight",
    request({ mediaBytes: 100 * MiB }),
    [worker("a", { onBoard: 3, mediaRoom: Number.POSITIVE_INFINITY })],
    "a",
  ],
])("%s", (_, asked, workers, chosen) => {
  expect(route(asked, workers)).toBe(chosen);
});

describe("whatever the load", () => {
  const candidate = fc.record({
    free: fc.nat(3),
    outstanding: fc.nat(5_000),
    mediaRoom: fc.oneof(fc.nat(3_000), fc.constant(Number.POSITIVE_INFINITY)),
    onBoard: fc.nat(3),
    share: fc.constantFrom(0, 0.5, 1),
  });
  const workers = fc
    .array(candidate, { maxLength: 6 })
    .map((all) => all.map((one, index) => ({ id: `worker-${index}`, ...one })));
  const asked = fc.record({ tokens: fc.nat(2_000), mediaBytes: fc.nat(3_000), alone: fc.boolean() });

  /** Written apart from the code: the reasons for which a worker cannot take the request. */
  function refusals({ mediaBytes, alone }: Routable, { free, onBoard, mediaRoom }: Candidate): string[] {
    const reasons = [];
    if (free === 0) reasons.push("no slot");
    if (alone && onBoard > 0) reasons.push("not empty");
    if (mediaBytes > mediaRoom && onBoard > 0) reasons.push("no credit");
    return reasons;
  }

  test("a request boards a worker with room for it if there is one, and never another", () => {
    fc.assert(
      fc.property(asked, workers, (request, all) => {
        const able = all.filter((one) => refusals(request, one).length === 0);
        const chosen = route(request, all);
        if (able.length === 0) expect(chosen).toBeUndefined();
        else expect(able.map(({ id }) => id)).toContain(chosen);
      }),
    );
  });

  test("the chosen worker has at most so much more to do than any other as its caches save", () => {
    fc.assert(
      fc.property(asked, workers, (request, all) => {
        const able = all.filter((one) => refusals(request, one).length === 0);
        const chosen = able.find(({ id }) => id === route(request, all));
        if (chosen === undefined) return;
        const least = Math.min(...able.map(({ outstanding }) => outstanding));
        expect(chosen.outstanding - least).toBeLessThanOrEqual(chosen.share * request.tokens);
      }),
    );
  });
});
