import type { WorkerStateName } from "../../orchestrator/events.ts";
import { defaultLimits, type Limits } from "../../orchestrator/supervision/limits.ts";
import {
  nextTick,
  type Supervised,
  type SupervisorAction,
  type SupervisorEvent,
  shownState,
  supervise,
  unstarted,
} from "../../orchestrator/supervision/supervisor.ts";

export const STEP_MS = 60_000;

/** One worker under supervision, on a clock that only the test moves. */
export class Life {
  now = 0;
  supervised: Supervised = unstarted;
  /** What was done, in order. */
  readonly actions: SupervisorAction[] = [];
  readonly limits: Limits;
  /** In the middle of the jitter's range the pause is three quarters of the longest. */
  readonly random: () => number;

  constructor(limits: Partial<Limits> = {}, random: () => number = () => 0.5) {
    this.limits = { ...defaultLimits, ...limits };
    this.random = random;
  }

  /** A worker that has just said hello. */
  static loading(limits: Partial<Limits> = {}): Life {
    return new Life(limits).tell({ type: "start" }).tell({ type: "hello" });
  }

  /** A worker that has just said that it is ready, for the first time. */
  static ready(limits: Partial<Limits> = {}): Life {
    return Life.loading(limits).tell({ type: "ready", stepMs: STEP_MS });
  }

  get state(): WorkerStateName {
    return shownState(this.supervised.life);
  }

  tell(event: SupervisorEvent): this {
    const { limits, random } = this;
    const [next, actions] = supervise(this.supervised, event, this.now, { limits, random });
    this.supervised = next;
    this.actions.push(...actions);
    return this;
  }

  /** The process that was spawned says hello and is ready. */
  load(): this {
    return this.tell({ type: "hello" }).tell({ type: "ready", stepMs: STEP_MS });
  }

  heartbeat(stepAgeMs?: number): this {
    return this.tell({ type: "heartbeat", stepAgeMs });
  }

  /** Nothing is heard for so long; every tick comes when it is due. */
  pass(milliseconds: number): this {
    const end = this.now + milliseconds;
    for (let due = this.due(); due <= end; due = this.due()) {
      this.now = Math.max(this.now, due);
      this.tell({ type: "tick", lateMs: 0 });
    }
    this.now = end;
    return this;
  }

  /** So long a heartbeat comes every second; a step is as old as is said in the first one, and grows older. */
  beat(milliseconds: number, stepAgeMs?: number): this {
    for (let passed = 0; passed < milliseconds; passed += 1_000) {
      this.heartbeat(stepAgeMs === undefined ? undefined : stepAgeMs + passed);
      this.pass(Math.min(1_000, milliseconds - passed));
    }
    return this;
  }

  /** The process ends, and its memory comes back. */
  exit(): this {
    return this.tell({ type: "exited" }).tell({ type: "memory settled" });
  }

  due(): number {
    return nextTick(this.supervised.life, this.limits) ?? Number.POSITIVE_INFINITY;
  }

  /** The names of what was done since the last call. */
  done(): SupervisorAction["type"][] {
    return this.actions.splice(0).map(({ type }) => type);
  }
}
