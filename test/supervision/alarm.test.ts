import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { Alarm } from "../../orchestrator/supervision/alarm.ts";

const DAY = 86_400_000;

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
});

/** When it woke, and how late. */
function alarm() {
  const woken: { at: number; lateMs: number }[] = [];
  const from = performance.now();
  // Less the millisecond that an immediate takes on this clock.
  const made = new Alarm((lateMs) => woken.push({ at: performance.now() - from - 1, lateMs }));
  return { from, woken, alarm: made };
}

test("it wakes when it is time, once, and the time that was set last counts", () => {
  const { from, woken, alarm: made } = alarm();
  made.set(from + 500);
  made.set(from + 2_000);
  vi.advanceTimersByTime(10_000);
  expect(woken).toEqual([{ at: 2_000, lateMs: 0 }]);
});

test("it says how late it is when this process was held up, for a time in the past too", () => {
  const { from, woken, alarm: made } = alarm();
  made.set(from - 3_000);
  vi.advanceTimersByTime(10);
  expect(woken[0]?.lateMs).toBeGreaterThanOrEqual(3_000);
});

test.each([400 * DAY, Number.POSITIVE_INFINITY])("a time that is far away costs nothing: %d ms", (milliseconds) => {
  const warnings = vi.spyOn(process, "emitWarning");
  const { from, woken, alarm: made } = alarm();
  made.set(from + milliseconds);
  vi.advanceTimersByTime(20 * DAY);
  expect(woken).toEqual([]);
  expect(warnings).not.toHaveBeenCalled();
});

test("none is set for undefined, and none after it was stopped", () => {
  const { from, woken, alarm: made } = alarm();
  made.set(from + 10);
  made.set(undefined);
  made.set(from + 20);
  made.stop();
  made.set(from + 30);
  vi.advanceTimersByTime(1_000);
  expect(woken).toEqual([]);
  expect(vi.getTimerCount()).toBe(0);
});
