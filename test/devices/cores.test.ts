import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, onTestFinished, test } from "vitest";
import { availableCores } from "../../orchestrator/devices/cores.ts";

describe("the cores of a container", () => {
  function root(limit: string, group = "/"): string {
    const directory = mkdtempSync(join(tmpdir(), "glimpse-cores-"));
    onTestFinished(() => rmSync(directory, { recursive: true }));
    mkdirSync(join(directory, "proc/self"), { recursive: true });
    mkdirSync(join(directory, "sys/fs/cgroup", group), { recursive: true });
    writeFileSync(join(directory, "proc/self/cgroup"), `0::${group}\n`);
    writeFileSync(join(directory, "sys/fs/cgroup", group, "cpu.max"), `${limit}\n`);
    return directory;
  }

  test.each([
    ["max 100000", 16],
    ["400000 100000", 4],
    ["250000 100000", 2],
    ["50000 100000", 1],
    ["6400000 100000", 16],
  ])("with a limit of %s, 16 cores are %i", async (limit, cores) => {
    await expect(availableCores(root(limit), 16)).resolves.toBe(cores);
    await expect(availableCores(root(limit, "/user.slice/app.scope"), 16)).resolves.toBe(cores);
  });

  test("without control groups they are what the scheduler gives", async () => {
    await expect(availableCores("/nowhere", 3)).resolves.toBe(3);
  });
});
