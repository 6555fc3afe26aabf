import { execFileSync } from "node:child_process";
import { expect, test } from "vitest";
import { packageRoot } from "../../orchestrator/package-root.ts";

test("the example of an invoice prints its items as they are read, and the checked sum", () => {
  const output = execFileSync(process.execPath, ["--import", "tsx", "examples/invoice.ts"], {
    cwd: packageRoot,
    encoding: "utf8",
    timeout: 60_000,
  });
  expect(output.split("\n")).toEqual([
    "  Lamp       24.50",
    "  Cable       6.20",
    "  Switch      3.90",
    "  Socket      7.40",
    "4 items from Lamp Market: 42.00",
    "",
  ]);
});
