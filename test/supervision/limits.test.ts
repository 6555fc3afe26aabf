import { expect, test } from "vitest";
import { completeLimits, defaultLimits } from "../../orchestrator/supervision/limits.ts";

test("what is not given, or given as undefined, is the default", () => {
  expect(completeLimits()).toEqual(defaultLimits);
  expect(completeLimits({ silenceMs: undefined, dumpMs: 5 } as object)).toEqual({ ...defaultLimits, dumpMs: 5 });
});

test.each([
  { heartbeatMs: 10_000 },
  { silenceMs: 2_000 },
  { loadingSilenceMs: 2_000 },
  { heartbeatMs: 0.5 },
  { heartbeatMs: Number.POSITIVE_INFINITY, silenceMs: Number.POSITIVE_INFINITY },
])("limits that a healthy worker would break are refused: %j", (limits) => {
  expect(() => completeLimits(limits)).toThrow(
    expect.objectContaining({ code: "INVALID_REQUEST", message: expect.stringContaining("limits.heartbeatMs") }),
  );
});

test("no limit at all is a limit", () => {
  expect(completeLimits({ silenceMs: Number.POSITIVE_INFINITY }).silenceMs).toBe(Number.POSITIVE_INFINITY);
});
