import { expect, test } from "vitest";
import { Life } from "./life.ts";

const HOUR = 3_600_000;

/** This process is stopped, or its event loop blocked, so that the tick that was due comes an hour late. */
function heldUp(life: Life): Life {
  life.now = life.due() + HOUR;
  return life;
}

const lateTick = { type: "tick", lateMs: HOUR } as const;

test("a worker that serves is not blamed for an hour in which this process was stopped", () => {
  const life = heldUp(Life.ready()).tell(lateTick).heartbeat();
  expect(life.state).toBe("ready");
  expect(life.done()).toEqual(["spawn"]);
});

test("nor is one that loads", () => {
  const life = heldUp(Life.loading()).heartbeat().tell(lateTick);
  expect(life.tell({ type: "ready", stepMs: 1 }).state).toBe("ready");
});

test("nor is one that has just started, and says hello late for the same reason", () => {
  const life = new Life().tell({ type: "start" }).pass(100);
  life.now += HOUR;
  life.tell({ type: "tick", lateMs: HOUR - 100 });
  expect(life.tell({ type: "hello" }).state).toBe("loading");
});

/** In which an awake worker is heard. */
const heard = ({ limits }: Life): number => 3 * limits.heartbeatMs;

test.each([
  ["has just started", new Life().tell({ type: "start" }), { type: "hello" }, "loading"],
  ["loads", Life.loading(), { type: "heartbeat", stepAgeMs: undefined }, "loading"],
  ["gets no further with loading", Life.loading().beat(599_500), { type: "progress" }, "loading"],
  ["serves", Life.ready(), { type: "heartbeat", stepAgeMs: undefined }, "ready"],
  ["is stuck", Life.ready().pass(10_000), { type: "heartbeat", stepAgeMs: undefined }, "ready"],
] as const)(
  "one whose words are still on their way when this process wakes is waited for: it %s",
  (_, life, word, state) => {
    heldUp(life)
      .tell(lateTick)
      .pass(heard(life) - 1);
    expect(life.tell(word).state).toBe(state);
    expect(life.done()).toEqual(["spawn"]);
  },
);

test("one that has been silent ever since is found out, three heartbeats later than it would have been", () => {
  const life = heldUp(Life.ready()).tell(lateTick);
  life.pass(heard(life));
  expect(life.state).toBe("stuck");
  life.pass(life.limits.silenceMs / 2);
  expect(life.done()).toEqual(["spawn", "dump"]);
});

test("a tick that is late because this process was busy for a moment puts off nothing", () => {
  const life = Life.loading();
  life.now = life.due() + 99;
  life.tell({ type: "tick", lateMs: 99 });
  expect(life.done()).toEqual(["spawn", "dump"]);
});

test.each([
  ["serves", Life.ready(), "silenceMs"],
  ["loads", Life.loading(), "loadingSilenceMs"],
] as const)("one that falls silent after a word on waking is found out in the usual time: it %s", (_, life, limit) => {
  heldUp(life).heartbeat().tell(lateTick).pass(life.limits[limit]);
  expect(life.done()).toEqual(["spawn", "dump"]);
});
