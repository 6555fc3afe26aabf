import { chmodSync, cpSync, existsSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { execa } from "execa";
import { beforeEach, describe, expect, test } from "vitest";
import { packageRoot } from "../../orchestrator/package-root.ts";
import { scratchDirectory } from "./scratch.ts";

/** A checkout with nothing installed, whose command only greets, and an npm that "installs" what is installed here. */
let checkout: string;
let npmLog: string;

beforeEach(() => {
  checkout = scratchDirectory();
  npmLog = join(checkout, "npm.log");
  cpSync(join(packageRoot, "bin"), join(checkout, "bin"), { recursive: true });
  for (const file of ["package.json", "package-lock.json", "tsconfig.json"]) {
    cpSync(join(packageRoot, file), join(checkout, file));
  }
  mkdirSync(join(checkout, "cli"));
  writeFileSync(
    join(checkout, "cli", "main.ts"),
    'const greeting: string = "started"; process.stdout.write(greeting);',
  );
  const npm = `#!/bin/sh
echo "$PWD: $*" >> ${npmLog}
ln -s ${join(packageRoot, "node_modules")} node_modules
echo "added packages"`;
  mkdirSync(join(checkout, "tools"));
  writeFileSync(join(checkout, "tools", "npm"), npm);
  chmodSync(join(checkout, "tools", "npm"), 0o755);
});

function glimpse(nodeArguments: string[] = []) {
  const env = { PATH: `${join(checkout, "tools")}:${process.env["PATH"]}` };
  return execa(process.execPath, [...nodeArguments, join(checkout, "bin", "glimpse.mjs")], {
    cwd: "/",
    env,
    reject: false,
  });
}

describe("the command in a fresh checkout", () => {
  test("it installs the JavaScript packages first, once, and keeps stdout for itself", async () => {
    const first = await glimpse();
    expect(first.stdout).toBe("started");
    expect(first.stderr).toMatch(/^Installing the \d+ JavaScript packages .*\(about \d+ MB\)\nadded packages$/);
    await glimpse();
    expect(readFileSync(npmLog, "utf8")).toBe(`${checkout}: ci --include=dev --no-audit --no-fund\n`);
  });

  test("it installs again when the lock names another version", async () => {
    symlinkSync(join(packageRoot, "node_modules"), join(checkout, "node_modules"));
    await glimpse();
    expect(existsSync(npmLog)).toBe(false);
    const lock = JSON.parse(readFileSync(join(checkout, "package-lock.json"), "utf8"));
    lock.packages["node_modules/execa"].version = "9.0.0";
    writeFileSync(join(checkout, "package-lock.json"), JSON.stringify(lock));
    await glimpse();
    expect(existsSync(npmLog)).toBe(true);
  });

  test("an npm that fails is named", async () => {
    writeFileSync(join(checkout, "tools", "npm"), "#!/bin/sh\nexit 1");
    const { exitCode, stderr } = await glimpse();
    expect(exitCode).toBe(1);
    expect(stderr).toContain("glimpse: npm ci did not succeed");
  });

  test.each([
    [
      "Node 18",
      'Object.defineProperty(process.versions, "node", { value: "18.20.0" })',
      "Node 20.19 or later is needed; this is 18.20.0",
    ],
    [
      "Windows",
      'Object.defineProperty(process, "platform", { value: "win32" })',
      "Linux or macOS is needed; this is win32",
    ],
  ])("on %s it says so before anything is installed", async (_name, pretend, message) => {
    const { exitCode, stderr } = await glimpse(["--import", `data:text/javascript,${encodeURIComponent(pretend)}`]);
    expect(exitCode).toBe(1);
    expect(stderr).toContain(`glimpse: ${message}`);
    expect(existsSync(npmLog)).toBe(false);
  });
});
