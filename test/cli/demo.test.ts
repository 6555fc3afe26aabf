import { expect, test } from "vitest";
import { glimpse } from "./command.ts";

test("the demo describes its picture truly, and ends with the time to its first token, speed, worker and device", async () => {
  const { exitCode, stdout, stderr } = await glimpse("demo");
  const lines = stdout.split("\n");
  expect(lines).toContain("A red circle, an orange star and a blue square on a white background.");
  expect(lines.at(-1)).toMatch(/^first token after \d+ ms, \d+ tokens\/s, \S+ \(pid \d+\), \S+ \(.+\)$/);
  expect(stderr).toContain("I see 3 shapes.");
  expect(stderr).not.toContain("Installing");
  expect(exitCode).toBe(0);
});
