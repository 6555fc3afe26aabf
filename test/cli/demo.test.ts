import { expect, test } from "vitest";
import { glimpse } from "./command.ts";

test("the demo describes its picture truly, and ends with speed, worker and device", async () => {
  const startedAt = performance.now();
  const { exitCode, stdout, stderr } = await glimpse("demo");
  const seconds = (performance.now() - startedAt) / 1000;
  const lines = stdout.split("\n");
  expect(lines).toContain("A red circle, an orange star and a blue square on a white background.");
  expect(lines.at(-1)).toMatch(/^first token after \d+ ms, \d+ tokens\/s, \S+ \(pid \d+\), \S+ \(.+\)$/);
  expect(stderr).toContain("I see 3 shapes.");
  expect(stderr).not.toContain("Installing");
  expect(exitCode).toBe(0);
  // The promise for two cores is 15 s to the first token, when everything is installed.
  expect(seconds).toBeLessThan(30);
});
