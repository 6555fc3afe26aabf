import { describe, expect, test } from "vitest";
import { glimpse, picture } from "./command.ts";

describe("the command line", () => {
  test("--help names the commands", async () => {
    const { exitCode, stdout, stderr } = await glimpse("--help");
    expect(exitCode).toBe(0);
    expect(stderr).toBe("");
    for (const name of ["describe", "demo", "setup"]) expect(stdout).toContain(`  ${name} `);
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
  ])("%s is a usage error, and exits with 2", async (_name, args, message) => {
    const { exitCode, stdout, stderr } = await glimpse(...args);
    expect(stderr).toContain(message);
    expect(stderr).not.toContain("    at ");
    expect(stdout).toBe("");
    expect(exitCode).toBe(2);
  });
});
