import fc from "fast-check";
import { expect, test } from "vitest";
import type { SupervisorEvent } from "../../orchestrator/supervision/supervisor.ts";
import { Life, STEP_MS } from "./life.ts";

type Happening = SupervisorEvent | { type: "pass"; milliseconds: number };

/** What may happen at any moment; what a process does, it does only while there is one. */
const happening: fc.Arbitrary<Happening> = fc.oneof(
  fc.constantFrom<Happening>(
    { type: "hello" },
    { type: "progress" },
    { type: "ready", stepMs: STEP_MS },
    { type: "heartbeat", stepAgeMs: undefined },
    { type: "heartbeat", stepAgeMs: STEP_MS + 1 },
    { type: "gave up" },
    { type: "babbled" },
    { type: "exited" },
    { type: "memory settled" },
    { type: "drain" },
    { type: "drained" },
  ),
  fc.integer({ min: 1, max: 200_000 }).map((milliseconds): Happening => ({ type: "pass", milliseconds })),
);
const ofAProcess = new Set(["hello", "progress", "ready", "heartbeat", "gave up", "babbled", "exited"]);

/** Plays what happens against a process that exists from its spawn to its exit. */
class Play {
  readonly life = new Life();
  processes = 0;
  #alive = false;
  #lost = 0;
  #asked = false;
  #memory = false;

  constructor() {
    this.#happen({ type: "start" });
  }

  get alive(): boolean {
    return this.#alive;
  }

  happen(event: Happening): void {
    if (ofAProcess.has(event.type) && !this.#alive) return;
    if (event.type === "memory settled" && !this.#memory) return;
    this.#happen(event);
  }

  #happen(event: Happening): void {
    if (event.type === "exited") this.#alive = false;
    if (event.type === "memory settled") this.#memory = false;
    // Who closes has ended the requests first.
    if (event.type === "close") this.#asked = true;
    if (event.type === "pass") this.life.pass(event.milliseconds);
    else this.life.tell(event);
    for (const action of this.life.actions.splice(0)) {
      switch (action.type) {
        case "spawn":
          expect(this.#alive, "there is one process at a time").toBe(false);
          this.processes += 1;
          expect(action.generation).toBe(this.processes);
          [this.#alive, this.#lost, this.#asked] = [true, 0, false];
          break;
        case "lose":
          this.#lost += 1;
          break;
        case "shut down":
          expect(this.#alive, "who is asked to leave is there").toBe(true);
          this.#asked = true;
          break;
        case "await memory":
          this.#memory = true;
          break;
        default:
      }
    }
    expect(this.#lost, "what is on board is taken back once").toBeLessThanOrEqual(1);
    if (event.type !== "exited") return;
    expect(this.#lost === 1 || this.#asked, "and always, unless all had ended").toBe(true);
  }

  /** From now on whatever should end ends, and the next process behaves. */
  recover(): void {
    if (this.life.state === "stopping" || this.life.state === "stuck") this.happen({ type: "exited" });
    this.happen({ type: "memory settled" });
    if (this.life.state === "waiting") this.happen({ type: "pass", milliseconds: 30_000 });
    this.happen({ type: "hello" });
    this.happen({ type: "ready", stepMs: STEP_MS });
    this.happen({ type: "heartbeat", stepAgeMs: undefined });
  }
}

const story = fc.array(happening, { maxLength: 60 });

test("whatever happens in whatever order, there is one process at a time, and a loss is told once", () => {
  fc.assert(
    fc.property(story, (events) => {
      const play = new Play();
      for (const event of events) play.happen(event);
    }),
    { numRuns: 500 },
  );
});

test("whatever has happened, a worker that behaves from then on serves again, unless it was given up", () => {
  fc.assert(
    fc.property(story, (events) => {
      const play = new Play();
      for (const event of events) play.happen(event);
      play.recover();
      const { state, supervised } = play.life;
      if (state === "draining") play.happen({ type: "drained" });
      if (state === "draining") play.recover();
      if (supervised.life.name !== "failed") expect(play.life.state).toBe("ready");
      else expect(supervised.failures).toBe(supervised.proven ? 5 : 1);
    }),
    { numRuns: 500 },
  );
});

test("once it is closed no process starts, whatever happens", () => {
  fc.assert(
    fc.property(story, story, (before, after) => {
      const play = new Play();
      for (const event of before) play.happen(event);
      const { processes } = play;
      play.happen({ type: "close" });
      for (const event of after) play.happen(event);
      if (play.alive) play.happen({ type: "exited" });
      expect(play.processes).toBe(processes);
      expect(["stopped", "failed"]).toContain(play.life.state);
    }),
    { numRuns: 500 },
  );
});
