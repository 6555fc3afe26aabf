import { spawn } from "node:child_process";
import { existsSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { beforeEach, describe, expect, test, vi } from "vitest";
import { packageRoot } from "../../orchestrator/package-root.ts";
import { needsSetup, setUp } from "../../orchestrator/python/environment.ts";
import { stampPath } from "../../orchestrator/python/location.ts";
import { requirements } from "../../orchestrator/python/requirements.ts";
import { environmentPython } from "../../orchestrator/python/resolve.ts";
import type { SetupEvent } from "../../orchestrator/python/setup-events.ts";
import { calls, installFakePython, pipDoes } from "./fake-python.ts";
import { scratchDirectory } from "./scratch.ts";

let directory: string;
let python: string;

beforeEach(async () => {
  const scratch = scratchDirectory();
  directory = join(scratch, "environment");
  python = join(scratch, "bin", "python3.11");
  await installFakePython(join(scratch, "bin"), "python3.11", { version: "3.11.7" });
  vi.stubEnv("PATH", join(scratch, "bin"));
});

const cpu = "cpu" as const;

async function pipCalls(): Promise<string[]> {
  return (await calls(python)).filter((line) => line.startsWith("pip"));
}

describe("setting up the Python environment", () => {
  test("it installs pip, the locked packages and torch, in this order, and tells of each step", async () => {
    const events: SetupEvent[] = [];
    const result = await setUp({ directory, torch: cpu, onEvent: (event) => events.push(event) });
    expect(result).toBe(join(directory, "bin", "python"));
    expect(events.filter(({ type }) => type === "start").map(({ step }) => step)).toEqual([
      "venv",
      "pip",
      "packages",
      "torch",
      "check",
    ]);
    expect(events).toContainEqual({
      type: "progress",
      step: "torch",
      detail: "package-1.0-py3-none-any.whl",
      done: 1000,
      total: 2_500_000,
    });
    expect(events).toContainEqual({ type: "done", step: "torch", files: 1, bytes: 2_500_000 });
    const [pip, packages, torch] = await pipCalls();
    expect(pip).toContain(`--require-hashes -r ${requirements.pip}`);
    expect(packages).toContain(`--no-deps --require-hashes -r ${requirements.runtime}`);
    expect(torch).toContain("torch==2.13.0+cpu");
  });

  test("an environment that has lost a package is made anew by a set-up that tries it out", async () => {
    await setUp({ directory, torch: cpu });
    writeFileSync(join(directory, "broken"), "");
    const before = await pipCalls();
    await setUp({ directory });
    expect(await pipCalls()).toEqual(before);
    await setUp({ directory, verify: true });
    expect((await pipCalls()).length).toBe(2 * before.length);
    expect(existsSync(join(directory, "broken"))).toBe(false);
    await setUp({ directory, verify: true });
    expect((await pipCalls()).length).toBe(2 * before.length);
  });

  test("a set-up that is interrupted while it tries out an environment leaves it as it is", async () => {
    await setUp({ directory, torch: cpu });
    const controller = new AbortController();
    const tried = setUp({
      directory,
      verify: true,
      signal: controller.signal,
      onEvent: ({ step }) => {
        // Ctrl-C reaches the Python that tries it out as well, which then fails.
        writeFileSync(join(directory, "broken"), "");
        if (step === "check") controller.abort();
      },
    });
    await expect(tried).rejects.toMatchObject({ code: "ABORTED" });
    expect(await needsSetup({ directory })).toBe(false);
  });

  test("a second set-up installs nothing", async () => {
    await setUp({ directory, torch: cpu });
    const before = await calls(python);
    expect(await needsSetup({ directory })).toBe(false);
    await setUp({ directory });
    expect(await calls(python)).toEqual(before);
  });

  test("another build of torch is another environment", async () => {
    await setUp({ directory, torch: cpu });
    await pipDoes(python, "wrong-build");
    expect(await needsSetup({ directory, torch: "cuda" })).toBe(true);
    await setUp({ directory, torch: "cuda" });
    // `==` would accept a CPU build that the index has, too.
    expect((await pipCalls()).at(-1)).toContain(`--constraint ${requirements.torchCuda} torch===2.13.0`);
    expect(JSON.parse(readFileSync(stampPath(directory), "utf8"))).toMatchObject({ torch: "cuda", python: "3.11.7" });
  });

  test("an environment of another lock is not used, and made anew", async () => {
    await setUp({ directory, torch: cpu });
    const stamp = JSON.parse(readFileSync(stampPath(directory), "utf8"));
    writeFileSync(stampPath(directory), JSON.stringify({ ...stamp, lock: "of-last-week" }));
    await expect(environmentPython(directory)).rejects.toMatchObject({
      code: "PYTHON_DEPS_MISSING",
      hint: "run: npx glimpse setup",
    });
    await setUp({ directory, torch: cpu });
    expect((await calls(python)).filter((line) => line === "venv")).toHaveLength(2);
    await expect(environmentPython(directory)).resolves.toBe(join(directory, "bin", "python"));
  });

  test("a new lock keeps the build of torch that was chosen", async () => {
    await pipDoes(python, "wrong-build");
    await setUp({ directory, torch: "cuda" });
    const stamp = JSON.parse(readFileSync(stampPath(directory), "utf8"));
    writeFileSync(stampPath(directory), JSON.stringify({ ...stamp, lock: "of-last-week" }));
    await setUp({ directory });
    expect(JSON.parse(readFileSync(stampPath(directory), "utf8"))).toEqual(stamp);
  });

  test("an environment whose Python was uninstalled is made anew", async () => {
    await setUp({ directory, torch: cpu });
    rmSync(join(directory, "bin", "python"));
    await setUp({ directory });
    expect((await calls(python)).filter((line) => line === "venv")).toHaveLength(2);
    await expect(environmentPython(directory)).resolves.toBe(join(directory, "bin", "python"));
  });

  test("a place where nothing can be made is a named failure with the path", async () => {
    const place = join(python, "is", "a", "file");
    await expect(setUp({ directory: place, torch: cpu })).rejects.toMatchObject({
      name: "GlimpseError",
      code: "SETUP_FAILED",
      message: expect.stringContaining(`the Python environment cannot be made at ${place}: ENOTDIR`),
      hint: expect.stringContaining("npx glimpse setup"),
    });
  });

  test("the development packages are added to an environment that is complete without them", async () => {
    await setUp({ directory, torch: cpu });
    const before = await pipCalls();
    await setUp({ directory, development: true });
    const added = (await pipCalls()).slice(before.length);
    expect(added).toHaveLength(1);
    expect(added[0]).toContain(requirements.development);
    expect(await needsSetup({ directory, development: true })).toBe(false);
  });

  test("the ROCm build comes from PyTorch's own index", async () => {
    // The fake torch says that it is a CPU build: what matters here is what pip was asked for.
    await expect(setUp({ directory, torch: "rocm" })).rejects.toMatchObject({ code: "SETUP_FAILED" });
    const requirement = "--index-url https://download.pytorch.org/whl/rocm7.2 torch==2.13.0+rocm7.2";
    expect((await pipCalls()).at(-1)).toContain(requirement);
  });

  test("where the configured index lacks the CPU build, PyTorch's own index is asked", async () => {
    await pipDoes(python, "no-cpu-build");
    await setUp({ directory, torch: cpu });
    expect((await pipCalls()).at(-1)).toContain("--index-url https://download.pytorch.org/whl/cpu torch==2.13.0+cpu");
  });

  test("an index that serves another build of torch than asked for is found out", async () => {
    await pipDoes(python, "wrong-build");
    const failed = setUp({ directory, torch: cpu });
    await expect(failed).rejects.toMatchObject({
      code: "SETUP_FAILED",
      message: expect.stringContaining("cuda build"),
    });
  });

  test("a step that fails shows pip's last lines, and the next set-up starts again", async () => {
    await pipDoes(python, "fail");
    await expect(setUp({ directory, torch: cpu })).rejects.toMatchObject({
      code: "SETUP_FAILED",
      message: expect.stringContaining("no space left on the device"),
      hint: expect.stringContaining("npx glimpse setup"),
    });
    expect(await needsSetup({ directory })).toBe(true);
    await pipDoes(python, "succeed");
    await setUp({ directory, torch: cpu });
    expect(await needsSetup({ directory })).toBe(false);
  });

  test("of two set-ups at once one makes the environment, and the other says that it waits", async () => {
    const events: SetupEvent[][] = [[], []];
    await Promise.all(events.map((own) => setUp({ directory, torch: cpu, onEvent: (event) => own.push(event) })));
    expect((await calls(python)).filter((line) => line === "venv")).toHaveLength(1);
    const [waiting] = events.filter(([first]) => first?.step === "wait");
    expect(waiting?.map(({ type, step }) => `${type} ${step}`)).toEqual(["start wait", "done wait"]);
  });

  test("an abort ends it by name, and leaves no lock", async () => {
    await pipDoes(python, "hang");
    const controller = new AbortController();
    const onEvent = ({ step }: SetupEvent): void => {
      if (step === "packages") controller.abort();
    };
    const aborted = setUp({ directory, torch: cpu, signal: controller.signal, onEvent });
    await expect(aborted).rejects.toMatchObject({ code: "ABORTED" });
    expect(existsSync(`${directory}.lock`)).toBe(false);
  });

  test("a set-up that was killed in the middle is redone from the start", async () => {
    await pipDoes(python, "hang");
    await killDuringPackages();
    expect(existsSync(`${directory}.lock`)).toBe(true);
    await expect(environmentPython(directory)).rejects.toMatchObject({ code: "PYTHON_DEPS_MISSING" });
    await pipDoes(python, "succeed");
    await setUp({ directory, torch: cpu });
    expect((await calls(python)).filter((line) => line === "venv")).toHaveLength(2);
    expect(existsSync(`${directory}.lock`)).toBe(false);
  });
});

/** Starts a set-up in another process, and ends that with SIGKILL once pip installs the packages. */
async function killDuringPackages(): Promise<void> {
  const module = pathToFileURL(join(packageRoot, "orchestrator", "python", "environment.ts")).href;
  const code = `
    const { setUp } = await import(${JSON.stringify(module)});
    await setUp({ directory: ${JSON.stringify(directory)}, torch: "cpu", onEvent: ({ step }) => console.log(step) });`;
  const child = spawn(process.execPath, ["--import", "tsx", "--input-type=module", "--eval", code], {
    cwd: packageRoot,
    stdio: ["ignore", "pipe", "inherit"],
  });
  child.stdout.on("data", (text: Buffer) => {
    if (text.includes("packages")) child.kill("SIGKILL");
  });
  await new Promise((resolve) => child.on("exit", resolve));
}
