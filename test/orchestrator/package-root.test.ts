import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { expect, onTestFinished, test } from "vitest";
import { packageOf, packageRoot } from "../../orchestrator/package-root.ts";

/** A program that a bundler has written, in a package of its own. */
function bundle(packageJson: string): string {
  const directory = mkdtempSync(join(tmpdir(), "glimpse-bundle-"));
  onTestFinished(() => rmSync(directory, { recursive: true }));
  mkdirSync(join(directory, "dist"));
  writeFileSync(join(directory, "package.json"), packageJson);
  return pathToFileURL(join(directory, "dist", "server.mjs")).href;
}

test("a program that has Glimpse in its bundle is told to leave it out", () => {
  const refusal = expect.objectContaining({
    code: "PLATFORM_UNSUPPORTED",
    message: expect.stringContaining("loaded from a bundle"),
    hint: expect.stringContaining("--external:glimpse"),
  });
  for (const url of [bundle('{ "name": "a-server", "version": "2.0.0" }'), bundle('{ "type": "module" }'), undefined]) {
    expect(() => packageOf(url)).toThrow(refusal);
  }
});

test("the package is found from anywhere in it", () => {
  expect(packageOf(pathToFileURL(join(packageRoot, "dist", "sdk", "index.js")).href).root).toBe(packageRoot);
});
