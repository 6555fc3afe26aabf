import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { onTestFinished } from "vitest";

/** An empty directory that lives as long as the test. */
export function scratchDirectory(): string {
  const directory = mkdtempSync(join(tmpdir(), "glimpse-setup-"));
  onTestFinished(() => rmSync(directory, { recursive: true, force: true }));
  return directory;
}
