import { spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { execa } from "execa";
import { describe, expect, onTestFinished, test } from "vitest";
import { packageRoot } from "../../orchestrator/package-root.ts";
import { command, picture } from "./command.ts";

const answer = "A red circle, an orange star and a blue square on a white background.";

/** Runs `script` in bash, where "$0" "$1" is the command and "$2" a picture. */
function bash(script: string) {
  return execa("bash", ["-c", script, process.execPath, command, picture], {
    cwd: "/",
    reject: false,
    stdin: "ignore",
  });
}

describe("a command whose output goes nowhere", () => {
  test("answers on stdout, though nobody reads its stderr", async () => {
    const { stdout, exitCode } = await bash(`"$0" "$1" describe "$2" 2> >(true)`);
    expect(stdout).toBe(answer);
    expect(exitCode).toBe(0);
  });

  test("exits with 141 when nobody reads its stdout and stderr", async () => {
    const { exitCode, stderr } = await bash(`"$0" "$1" describe "$2" 2>&1 | true; exit "\${PIPESTATUS[0]}"`);
    expect(stderr).toBe("");
    expect(exitCode).toBe(141);
  });

  test.each(["--help", `describe "$2" "$2"`, `describe --json "$2" "$2"`])(
    "says once that the disk is full, without a stack trace: %s",
    async (args) => {
      const { exitCode, stderr } = await bash(`"$0" "$1" ${args} > /dev/full`);
      expect(stderr.match(/^glimpse: .*$/gm)).toEqual([expect.stringMatching(/stdout cannot be written to: ENOSPC/)]);
      expect(stderr).not.toMatch(/\n +at /);
      expect(exitCode).toBe(1);
    },
  );
});

describe("a command that takes its time to end", () => {
  const program = join(import.meta.dirname, "interrupted.ts");
  const interruptions = {
    SIGINT: { by: "SIGINT", exitCode: 130 },
    SIGTERM: { by: "SIGTERM", exitCode: 143 },
    "the end of its reader": { by: "reader", exitCode: 141 },
  } as const;

  test.each(Object.entries(interruptions))("after %s ends at once by any signal", async (_name, { by, exitCode }) => {
    for (const second of ["SIGINT", "SIGTERM"] as const) {
      const child = spawn(process.execPath, ["--import", "tsx", program], {
        cwd: packageRoot,
        stdio: ["ignore", "pipe", "pipe"],
      });
      onTestFinished(() => void child.kill("SIGKILL"));
      await once(child.stdout, "data");
      if (by === "reader") child.stdout.destroy();
      else child.kill(by);
      const [said] = await once(child.stderr, "data");
      expect(String(said)).toBe("interrupted\n");
      child.kill(second);
      expect(await once(child, "exit")).toEqual([exitCode, null]);
    }
  });
});
