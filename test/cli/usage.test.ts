import { describe, expect, test } from "vitest";
import { glimpse, picture } from "./command.ts";

describe("the command line", () => {
  test("--help names the commands", async () => {
    const { exitCode, stdout, stderr } = await glimpse("--help");
    expect(exitCode).toBe(0);
    expect(stderr).toBe("");
    for (const name of ["describe", "demo", "setup"]) expect(stdout).toContain(`  ${name} `);
  });

  test.each([
    ["describe", ["--engine <engine>", "--kv-cache-memory-bytes <n>", "--max-thinking-tokens <n>"]],
    ["demo", ["--engine <engine>", "--kv-cache-memory-bytes <n>"]],
  ])("%s --help names its options of the engine", async (name, options) => {
    const { exitCode, stdout } = await glimpse(name, "--help");
    expect(exitCode).toBe(0);
    for (const option of options) expect(stdout).toContain(`  ${option} `);
  });

  test("--version prints the version alone", async () => {
    const { exitCode, stdout } = await glimpse("--version");
    expect(exitCode).toBe(0);
    expect(stdout).toMatch(/^\d+\.\d+\.\d+$/);
  });

  test.each([
    ["no picture", ["describe"], "missing required argument 'picture'"],
    ["an unknown option", ["describe", picture, "--colour"], "unknown option '--colour'"],
    ["an unknown command", ["paint"], "unknown command 'paint'"],
    ["a number of tokens that is none", ["describe", picture, "--max-new-tokens", "many"], "Expected a whole number."],
    ["an unknown build of torch", ["setup", "--torch", "vulkan"], "Allowed choices are cpu, cuda, rocm."],
    ["a device that is none", ["describe", picture, "--device", "gpu"], "cuda:N"],
    ["an engine that is none", ["describe", picture, "--engine", "vllm"], "Allowed choices are paged, reference."],
    ["an engine that is none, in the demo", ["demo", "--engine", "vllm"], "Allowed choices are paged, reference."],
    [
      "a cache for an engine without one",
      ["demo", "--engine=reference", "--kv-cache-memory-bytes=1"],
      "kvCacheMemoryBytes",
    ],
  ])("%s is a usage error, and exits with 2", async (_name, args, message) => {
    const { exitCode, stdout, stderr } = await glimpse(...args);
    expect(stderr).toContain(message);
    expect(stderr).not.toContain("    at ");
    expect(stdout).toBe("");
    expect(exitCode).toBe(2);
  });
});
