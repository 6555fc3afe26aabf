import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { needsSetup } from "../../orchestrator/python/environment.ts";
import { runtimeLock, stampPath } from "../../orchestrator/python/location.ts";
import { environmentPython, resolvePython } from "../../orchestrator/python/resolve.ts";
import { installFakePython } from "./fake-python.ts";
import { scratchDirectory } from "./scratch.ts";

describe("the interpreter that workers are started with", () => {
  test("one named by GLIMPSE_PYTHON is used as it is, and one named in the call before it", async () => {
    const bin = scratchDirectory();
    await installFakePython(bin, "vendor", { version: "3.12.4" });
    await installFakePython(bin, "conda", { version: "3.11.9" });
    const env = { PATH: bin, GLIMPSE_PYTHON: join(bin, "vendor") };
    await expect(resolvePython(undefined, env)).resolves.toBe(join(bin, "vendor"));
    await expect(resolvePython("conda", env)).resolves.toBe("conda");
  });

  test("a path that is no interpreter is refused by the name of the option", async () => {
    const nowhere = join(scratchDirectory(), "python");
    const refused = resolvePython(undefined, { GLIMPSE_PYTHON: nowhere });
    await expect(refused).rejects.toMatchObject({
      code: "PYTHON_NOT_FOUND",
      message: `GLIMPSE_PYTHON must name a Python interpreter; ${JSON.stringify(nowhere)} does not run`,
    });
  });

  test.each(["3.10.2", "3.13.0", "3.110.0", "2.7.18"])(
    "a named interpreter of version %s is refused",
    async (version) => {
      const bin = scratchDirectory();
      await installFakePython(bin, "python", { version });
      await expect(resolvePython(join(bin, "python"))).rejects.toMatchObject({
        code: "PYTHON_UNSUPPORTED",
        message: `python must be Python 3.11 or 3.12; ${join(bin, "python")} is ${version}`,
      });
    },
  );

  test("an environment whose Python was uninstalled is named, with the command that mends it", async () => {
    const directory = scratchDirectory();
    await mkdir(join(directory, "bin"));
    await writeFile(stampPath(directory), JSON.stringify({ lock: runtimeLock(), torch: "cpu", python: "3.11.7" }));
    await expect(environmentPython(directory)).rejects.toMatchObject({
      code: "PYTHON_DEPS_MISSING",
      hint: "run: npx glimpse setup",
    });
    // And the command does mend it.
    expect(await needsSetup({ directory })).toBe(true);
  });
});
