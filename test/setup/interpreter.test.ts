import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { findInterpreter } from "../../orchestrator/python/interpreter.ts";
import { installPythonHint, installVenvHint } from "../../orchestrator/python/system-packages.ts";
import { installFakePython } from "./fake-python.ts";
import { scratchDirectory } from "./scratch.ts";

describe("looking for a Python to make the environment with", () => {
  test("without any Python on PATH the error says how to install one", async () => {
    const refused = findInterpreter({ PATH: scratchDirectory() });
    await expect(refused).rejects.toMatchObject({ code: "PYTHON_NOT_FOUND", hint: installPythonHint() });
  });

  test("a Python 3.9 is refused by its version and path", async () => {
    const bin = scratchDirectory();
    await installFakePython(bin, "python3", { version: "3.9.18" });
    await expect(findInterpreter({ PATH: bin })).rejects.toMatchObject({
      code: "PYTHON_UNSUPPORTED",
      message: `Python 3.11 or 3.12 is needed; PATH has 3.9.18 (${join(bin, "python3")})`,
      hint: installPythonHint(),
    });
  });

  test("a Python 3.13 is refused: the pinned packages are not locked for it", async () => {
    const bin = scratchDirectory();
    await installFakePython(bin, "python3", { version: "3.13.0" });
    await expect(findInterpreter({ PATH: bin })).rejects.toMatchObject({ code: "PYTHON_UNSUPPORTED" });
  });

  test("a Python without ensurepip is refused with the package that brings it", async () => {
    const bin = scratchDirectory();
    await installFakePython(bin, "python3", { version: "3.11.2", ensurepip: false });
    await expect(findInterpreter({ PATH: bin })).rejects.toMatchObject({
      code: "PYTHON_VENV_MISSING",
      hint: installVenvHint("3.11.2"),
    });
  });

  test("a complete Python 3.11 is taken rather than a 3.12 without ensurepip", async () => {
    const bin = scratchDirectory();
    await installFakePython(bin, "python3.12", { version: "3.12.1", ensurepip: false });
    await installFakePython(bin, "python3.11", { version: "3.11.7" });
    await expect(findInterpreter({ PATH: bin })).resolves.toMatchObject({ version: "3.11.7" });
  });

  test("Python 3.12 is preferred", async () => {
    const bin = scratchDirectory();
    await installFakePython(bin, "python3.11", { version: "3.11.7" });
    await installFakePython(bin, "python3.12", { version: "3.12.1" });
    await expect(findInterpreter({ PATH: bin })).resolves.toMatchObject({ version: "3.12.1" });
  });

  test("on Debian and its kin the hint names the package of the right version", () => {
    expect(installVenvHint("3.12.3", "ID=ubuntu\nID_LIKE=debian\n")).toBe("run: sudo apt install python3.12-venv");
    expect(installVenvHint("3.12.3", "ID=arch\n")).not.toContain("apt");
  });
});
