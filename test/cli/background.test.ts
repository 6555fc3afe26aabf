import { spawn } from "node:child_process";
import { once } from "node:events";
import { cpSync, existsSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { execa } from "execa";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { packageRoot } from "../../orchestrator/package-root.ts";
import { command, glimpse, glimpseOnTerminal, picture } from "./command.ts";

const runtime = mkdtempSync(join(tmpdir(), "glimpse-test-"));
const socket = (name: string) => join(runtime, "glimpse", `${name}.socket`);
const RUNS = 20;
let shown: string;

beforeAll(async () => {
  process.env["XDG_RUNTIME_DIR"] = runtime;
  // The terminal is gone when this resolves.
  shown = await glimpseOnTerminal(["up"]);
});

afterAll(async () => {
  await glimpse("down", "--now");
  rmSync(runtime, { recursive: true, force: true });
});

/** The package as it is installed, so far as a program that connects needs it; resolves to what it imports. */
async function build(): Promise<string> {
  cpSync(join(packageRoot, "package.json"), join(runtime, "package.json"));
  symlinkSync(join(packageRoot, "node_modules"), join(runtime, "node_modules"));
  const tsc = join(packageRoot, "node_modules", "typescript", "bin", "tsc");
  const dist = join(runtime, "dist");
  const options = ["-p", "tsconfig.build.json", "--noCheck", "--declaration", "false", "--outDir", dist];
  await execa(process.execPath, [tsc, ...options], { cwd: packageRoot });
  return join(dist, "sdk", "index.js");
}

describe("glimpse up", () => {
  test("shows how the model loads, then the workers, which outlive the terminal", async () => {
    expect(shown).toContain("Loading the weights");
    expect(shown).toMatch(/Started: process \d+\. It ends when nobody was connected for 60 minutes\./);
    expect(shown).toMatch(/^worker-0 +\d+ +1 +ready /m);
    const { stdout, exitCode } = await glimpse("workers");
    expect(stdout).toMatch(/^worker +pid +generation +state +device +model +requests +tokens +memory +versions$/m);
    expect(stdout).toMatch(/^worker-0 +\d+ +1 +ready .*models\/embedded +0 +0 .*torch 2\./m);
    expect(exitCode).toBe(0);
  });

  test("says that it runs already, and with which options not", async () => {
    const same = await glimpse("up");
    expect(same).toMatchObject({ exitCode: 0, stderr: expect.stringContaining("Already running: process ") });
    expect(same.stdout).toMatch(/^worker-0 .* ready /m);
    const other = await glimpse("up", "--dtype=float32", "--workers=cpu,cpu", "--idle-minutes=0.5");
    expect(other).toMatchObject({ exitCode: 1, stdout: "" });
    for (const line of [
      "dtype: runs with the default, asked for float32",
      "idleMinutes: runs with 60, asked for 0.5",
      "workers: runs with the default, asked for cpu,cpu",
      "npx glimpse down",
    ]) {
      expect(other.stderr).toContain(line);
    }
  });

  test("with an option that launch() refuses says so, and leaves nothing running", async () => {
    const { exitCode, stderr } = await glimpse("up", "--name=refused", "--device=gpu");
    expect(stderr).toContain('device: expected "auto", "cpu", "cuda" or "cuda:N", got "gpu"');
    expect(exitCode).toBe(2);
    expect(existsSync(socket("refused"))).toBe(false);
  });

  test("that is interrupted leaves nothing running", async () => {
    const child = spawn(process.execPath, [command, "up", "--name", "interrupted"], {
      stdio: ["ignore", "ignore", "pipe"],
    });
    for await (const text of child.stderr) if (String(text).includes("Starting Python")) break;
    expect(existsSync(socket("interrupted"))).toBe(true);
    child.kill("SIGINT");
    expect(await once(child, "exit")).toEqual([130, null]);
    expect(existsSync(socket("interrupted"))).toBe(false);
  });
});

describe("with glimpse up running", () => {
  test("the first token of a script comes in under a second of its start", async () => {
    const installed = await build();
    const program = join(import.meta.dirname, "first-token.mjs");
    const measure = async (run: number): Promise<number> => {
      // A picture is known by its bytes: to the worker this one is new.
      const fresh = join(runtime, `${run}.png`);
      writeFileSync(fresh, Buffer.concat([readFileSync(picture), Buffer.from([run])]));
      const startedAt = performance.now();
      const child = spawn(process.execPath, [program, installed, fresh], { stdio: ["ignore", "pipe", "inherit"] });
      const exited = once(child, "exit");
      expect(String((await once(child.stdout, "data"))[0])).toBe("first token\n");
      const milliseconds = performance.now() - startedAt;
      expect(await exited).toEqual([0, null]);
      return milliseconds;
    };
    // What else the machine does can only add to it: the best of a few runs counts.
    const all: number[] = [];
    while (all.length < RUNS && !all.some((milliseconds) => milliseconds < 1000)) all.push(await measure(all.length));
    expect(Math.min(...all)).toBeLessThan(1000);
  });

  test("describe --connect uses its workers, and loads no model", async () => {
    const { stdout, stderr, exitCode } = await glimpse("describe", "--connect", picture);
    expect(stdout).toBe("A red circle, an orange star and a blue square on a white background.");
    expect(stderr).not.toContain("Loading");
    expect(exitCode).toBe(0);
  });

  test("workers --json prints one object per worker", async () => {
    const { stdout } = await glimpse("workers", "--json");
    expect(stdout.split("\n").map((line) => JSON.parse(line))).toMatchObject([{ id: "worker-0", state: "ready" }]);
  });
});

describe("without one", () => {
  test.each([["workers"], ["describe", picture]])("%s says how to start it", async (...args) => {
    const { exitCode, stderr, stdout } = await glimpse(...args, "--name", "absent");
    expect(stderr).toContain('the background orchestrator "absent" is not running');
    expect(stderr).toContain("npx glimpse up --name absent");
    expect(stdout).toBe("");
    expect(exitCode).toBe(1);
  });

  test("down has nothing to do", async () => {
    expect(await glimpse("down", "--name", "absent")).toMatchObject({ exitCode: 0, stderr: "It is not running." });
  });
});

test("options of a launch are refused together with --connect", async () => {
  const { exitCode, stderr } = await glimpse("describe", "--connect", "--model", "x", picture);
  expect(stderr).toContain("'--connect' cannot be used with option '--model");
  expect(exitCode).toBe(2);
});

test("glimpse down ends it, with its workers", async () => {
  const workers = (await glimpse("workers", "--json")).stdout;
  expect(await glimpse("down")).toMatchObject({ exitCode: 0, stderr: "Ended." });
  const { pid } = JSON.parse(workers);
  expect(existsSync(`/proc/${pid}`)).toBe(false);
  expect(existsSync(socket("default"))).toBe(false);
});
