import { once } from "node:events";
import { expect, test } from "vitest";
import { glimpse } from "./command.ts";

test("the demo describes its picture truly, and ends with the time to its first token, speed, worker and device", async () => {
  const run = glimpse("demo");
  const startedAt = performance.now();
  await once(run.stdout, "data");
  const firstShownMs = performance.now() - startedAt;
  const { exitCode, stdout, stderr } = await run;
  const lines = stdout.split("\n");
  expect(lines).toContain("A red circle, an orange star and a blue square on a white background.");
  expect(lines.at(-1)).toMatch(/^first token after \d+ ms, \d+ tokens\/s, \S+ \(pid \d+\), \S+ \(.+\)$/);
  expect(stderr).toContain("I see 3 shapes.");
  expect(stderr).not.toContain("Installing");
  expect(exitCode).toBe(0);
  // Promised of two cores, once everything is installed.
  expect(firstShownMs).toBeLessThan(15_000);
});
