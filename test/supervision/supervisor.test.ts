import { expect, test } from "vitest";
import { defaultLimits, stepLimit } from "../../orchestrator/supervision/limits.ts";
import { Life, STEP_MS } from "./life.ts";

const { helloMs, loadingMs, loadingSilenceMs, silenceMs, dumpMs, killMs, stableMs } = defaultLimits;

test("a worker that says nothing after its start is ended, and its launch fails", () => {
  const life = new Life().tell({ type: "start" }).pass(helloMs);
  expect(life.done()).toEqual(["spawn", "kill"]);
  expect(life.exit().actions).toEqual([{ type: "lose", cause: "silent", was: "starting" }, { type: "give up" }]);
  expect(life.state).toBe("failed");
});

test("loading may take as long as it likes while it gets on", () => {
  const life = Life.loading();
  for (let stage = 0; stage < 10; stage += 1) life.beat(loadingMs - 1_000).tell({ type: "progress" });
  expect(life.state).toBe("loading");
});

test("loading that hangs while its heartbeat goes on is ended, with its stacks", () => {
  const life = Life.loading().beat(loadingMs).exit();
  expect(life.actions.slice(1)).toEqual([
    { type: "dump" },
    { type: "lose", cause: "hung", was: "loading" },
    { type: "give up" },
  ]);
});

test("loading that falls silent is ended sooner", () => {
  const life = Life.loading().beat(60_000).heartbeat().pass(loadingSilenceMs).exit();
  expect(life.actions.slice(1, 3)).toEqual([{ type: "dump" }, { type: "lose", cause: "silent", was: "loading" }]);
});

test("a silent worker gets nothing new after half of its time, and may come back", () => {
  const life = Life.ready().pass(silenceMs / 2);
  expect(life.state).toBe("stuck");
  life.pass(silenceMs / 2 - 1);
  expect(life.heartbeat().state).toBe("ready");
  expect(life.done()).toEqual(["spawn"]);
});

test("a worker that stays silent is asked for its stacks, killed, and replaced", () => {
  const life = Life.ready().pass(silenceMs);
  expect(life.done()).toEqual(["spawn", "dump"]);
  expect(life.state).toBe("stuck");
  life.pass(dumpMs);
  expect(life.done()).toEqual(["kill"]);
  expect(life.state).toBe("stopping");
  expect(life.exit().actions).toMatchObject([
    { type: "lose", cause: "silent", was: "stuck" },
    { type: "await memory" },
    { type: "announce restart" },
  ]);
  expect(life.state).toBe("waiting");
});

test("a long step makes a worker stuck, and its end makes it ready again", () => {
  const life = Life.ready().beat(STEP_MS, 0);
  expect(life.state).toBe("stuck");
  expect(life.heartbeat().state).toBe("ready");
});

test("a step that hangs is ended with its stacks although the heartbeat goes on", () => {
  const life = Life.ready()
    .beat(STEP_MS, 0)
    .heartbeat(STEP_MS + 1)
    .exit();
  expect(life.actions.slice(1, 3)).toEqual([{ type: "dump" }, { type: "lose", cause: "hung", was: "stuck" }]);
});

test("a step may take a minute on a GPU, half an hour on a CPU, or what the caller allows", () => {
  expect(stepLimit(defaultLimits, "cuda")).toBe(60_000);
  expect(stepLimit(defaultLimits, "rocm")).toBe(60_000);
  expect(stepLimit(defaultLimits, "cpu")).toBe(1_800_000);
  expect(stepLimit({ ...defaultLimits, stepMs: 5 }, "cpu")).toBe(5);
});

test("one that announces its end leaves by itself, and is helped along if it takes long", () => {
  const life = Life.ready().tell({ type: "gave up" });
  expect(life.done()).toEqual(["spawn", "let leave"]);
  expect(life.pass(killMs).done()).toEqual(["kill"]);
  expect(life.exit().actions[0]).toEqual({ type: "lose", cause: "gave up", was: "ready" });
});

test("one that sends garbage is killed at once", () => {
  const life = Life.ready().tell({ type: "babbled" });
  expect(life.done()).toEqual(["spawn", "kill"]);
  expect(life.exit().actions[0]).toEqual({ type: "lose", cause: "babbled", was: "ready" });
});

test("one that no signal ends gives back its requests once; its place is filled when it is gone at last", () => {
  const life = Life.ready().tell({ type: "babbled" }).pass(killMs);
  expect(life.done()).toEqual(["spawn", "kill", "lose"]);
  expect(life.pass(3_600_000).state).toBe("stopping");
  expect(life.exit().done()).toEqual(["await memory", "announce restart"]);
});

test("its pauses double, with jitter, up to the longest, and begin anew once it has been stable", () => {
  const [shortest, longest] = [new Life(), new Life({}, () => 0)].map((life, index) => {
    life.tell({ type: "start" });
    const pauses: number[] = [];
    for (let loss = 0; loss < 9; loss += 1) {
      life.load().exit();
      const restart = life.actions.splice(0).find((action) => action.type === "announce restart");
      pauses.push(restart?.inMs ?? Number.NaN);
      life.pass(restart?.inMs ?? 0);
      expect(life.state).toBe("starting");
    }
    life
      .load()
      .beat(stableMs + 1_000)
      .heartbeat()
      .exit();
    expect(life.actions.at(-1)).toMatchObject({ inMs: index === 0 ? 375 : 500 });
    return pauses;
  });
  expect(longest).toEqual([500, 1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000, 30_000]);
  expect(shortest).toEqual(longest?.map((pause) => 0.75 * pause));
});

test("five starts in a row that fail are the last, however the sixth might end", () => {
  const life = Life.ready().exit();
  for (let start = 0; start < 5; start += 1) life.pass(30_000).tell({ type: "hello" }).tell({ type: "gave up" }).exit();
  expect(life.state).toBe("failed");
  expect(life.done().filter((action) => action === "spawn")).toHaveLength(1 + 5);
  expect(life.pass(3_600_000).done()).toEqual([]);
});

test("one that was given up gets its tries again when somebody asks for them", () => {
  const life = Life.loading().tell({ type: "gave up" }).exit();
  expect(life.tell({ type: "start" }).load().state).toBe("ready");
});

test("a start that succeeds begins the count anew, and a worker that was ready breaks nothing however often it dies", () => {
  const life = Life.ready().exit();
  for (let loss = 0; loss < 20; loss += 1) life.pass(30_000).exit().pass(30_000).load().exit();
  expect(life.state).toBe("waiting");
});

test("a worker that was never ready gets no second try, one that was gets them during the same launch", () => {
  expect(Life.loading().tell({ type: "gave up" }).exit().state).toBe("failed");
  expect(Life.ready().exit().pass(500).tell({ type: "gave up" }).exit().state).toBe("waiting");
});

test("a replaced worker finishes what it has, leaves, and its successor starts without a pause", () => {
  const life = Life.ready().tell({ type: "drained" });
  expect(life.tell({ type: "drain" }).state).toBe("draining");
  expect(life.tell({ type: "drained" }).state).toBe("stopping");
  expect(life.exit().done()).toEqual(["spawn", "shut down", "await memory", "spawn"]);
});

test("a worker that drains is watched like any other, and drains on when it comes back", () => {
  const life = Life.ready()
    .tell({ type: "drain" })
    .pass(silenceMs / 2);
  expect(life.state).toBe("stuck");
  expect(life.heartbeat().state).toBe("draining");
  life.pass(silenceMs + dumpMs);
  expect(life.done()).toEqual(["spawn", "dump", "kill"]);
});

test("one that dies while it drains has been replaced by what follows", () => {
  const life = Life.ready().tell({ type: "drain" }).exit().pass(500).load();
  expect(life.state).toBe("ready");
});

test("while it waits for a new process, draining changes nothing", () => {
  const life = Life.ready().exit().tell({ type: "drain" }).tell({ type: "drained" });
  expect(life.pass(500).load().state).toBe("ready");
});

const places: [string, () => Life, number][] = [
  ["starting", () => new Life().tell({ type: "start" }), 1],
  ["loading", () => Life.loading(), 1],
  ["ready", () => Life.ready(), 1],
  ["stuck", () => Life.ready().pass(silenceMs / 2), 1],
  ["draining", () => Life.ready().tell({ type: "drain" }), 1],
  ["stacks asked for", () => Life.ready().pass(silenceMs), 1],
  ["killed", () => Life.ready().tell({ type: "babbled" }), 1],
  ["killed in vain", () => Life.ready().tell({ type: "babbled" }).pass(killMs), 1],
  ["being replaced", () => Life.ready().tell({ type: "drain" }).tell({ type: "drained" }), 1],
  ["waiting for memory", () => Life.ready().tell({ type: "exited" }), 0],
  ["waiting for the next start", () => Life.ready().exit(), 0],
];

test.each(places)("closing starts nothing any more and loses nothing: %s", (_, bringThere, processes) => {
  const life = bringThere();
  life.done();
  life.tell({ type: "close" });
  if (processes > 0) {
    expect(life.state).toBe("stopping");
    life.exit();
  }
  life.tell({ type: "memory settled" }).pass(3_600_000);
  expect(life.state).toBe("stopped");
  expect(life.done().filter((action) => action !== "shut down" && action !== "kill")).toEqual([]);
});
