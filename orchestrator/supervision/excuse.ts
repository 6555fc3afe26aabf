import { HEARTBEATS_OF_SILENCE, type Limits } from "./limits.ts";
import type { Life } from "./supervisor.ts";

/** A tick that comes later than by this much, in milliseconds, finds this process held up, not only busy. */
const HELD_UP_MS = 100;

/**
 * While this process itself was held up, it heard nobody: that time does not count against a worker. On waking, what
 * the worker has sent is still on its way from the socket, and it may have been held up as well: it has the time in
 * which an awake one is heard.
 */
export function excuse(life: Life, lateMs: number, now: number, limits: Limits): Life {
  const excused = lateMs < HELD_UP_MS ? lateMs : lateMs + HEARTBEATS_OF_SILENCE * limits.heartbeatMs;
  // What has been heard since then is not excused.
  const later = (time: number): number => Math.min(now, time + excused);
  if (life.name === "starting") return { ...life, since: later(life.since) };
  if (life.name === "loading") return { ...life, heardAt: later(life.heardAt), progressAt: later(life.progressAt) };
  if (life.name === "serving") return { ...life, heardAt: later(life.heardAt) };
  return life;
}
