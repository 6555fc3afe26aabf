import { cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { execa } from "execa";
import { afterEach, beforeEach, expect, test } from "vitest";
import { embeddedModel, packageRoot } from "../../orchestrator/package-root.ts";

const program = join(packageRoot, "models", "evaluation", "evaluate.ts");

let scratch: string;
let temporary: string;
beforeEach(() => {
  scratch = mkdtempSync(join(tmpdir(), "glimpse-evaluation-test-"));
  temporary = join(scratch, "tmp");
  mkdirSync(temporary);
});
afterEach(() => rmSync(scratch, { recursive: true, force: true }));

function evaluate(...args: string[]) {
  return execa(process.execPath, ["--import", "tsx", program, ...args], {
    cwd: packageRoot,
    env: { TMPDIR: temporary },
    stdin: "ignore",
    reject: false,
  });
}

/** What the evaluation made there and left; other things of this machine may be there too. */
function leftBehind(): string[] {
  return readdirSync(temporary).filter((name) => name.startsWith("glimpse-evaluation"));
}

/** How many were right, and of how many, by the lines of the table. */
function counts(report: string): Record<string, { right: number; total: number }> {
  const lines = [...report.matchAll(/^\| (\S.*?) +\| (\d+) of (\d+) /gm)];
  return Object.fromEntries(
    lines.map(([, name = "", right, total]) => [name, { right: Number(right), total: Number(total) }]),
  );
}

test("asks what it was told to, counts it, lists what was wrong, and writes the card and the pictures", async () => {
  const model = join(scratch, "model");
  cpSync(embeddedModel, model, { recursive: true });
  const card = join(model, "README.md");
  const [before, after] = readFileSync(card, "utf8").split(/<!-- figures -->.*<!-- \/figures -->/s);
  const groups = ["talk", "boxes", "video"];
  const sheets = join(scratch, "sheets");

  const { exitCode, stdout, stderr } = await evaluate(
    ...["--samples", "3", "--seed", "11", "--groups", groups.join(","), "--model", model],
    ...["--write", "--failures", "--show", sheets],
  );
  expect({ exitCode, left: leftBehind() }, stderr).toEqual({ exitCode: 0, left: [] });
  expect(stderr).toMatch(/9 answers, \d+\.\d requests\/s/);

  const counted = counts(stdout);
  expect(Object.keys(counted)).toEqual(["boxes: mean IoU", "boxes: worst cell", "video", "talk"]);
  const { "boxes: worst cell": _, ...ofGroups } = counted;
  expect(Object.values(ofGroups).map(({ total }) => total)).toEqual([3, 3, 3]);
  const wrong = Object.values(ofGroups).reduce((sum, { right, total }) => sum + total - right, 0);
  expect(stdout.match(/^ {2}.+, not ".*$/gm) ?? []).toHaveLength(wrong);
  const inGrid = [...stdout.matchAll(/\d\.\d{3} \((\d+)\)/g)].reduce((sum, [, samples]) => sum + Number(samples), 0);
  expect(inGrid).toBe(3);

  const figures = readFileSync(card, "utf8").slice(before?.length, -(after?.length ?? 0));
  expect(readFileSync(card, "utf8")).toBe(`${before}${figures}${after}`);
  expect(counts(figures)).toEqual(counted);
  expect(figures).not.toContain("requests/s");

  const seen = ["boxes: mean IoU", "video"].flatMap((name) => counted[name] ?? []);
  expect(existsSync(join(sheets, "right.png"))).toBe(seen.some(({ right }) => right > 0));
  expect(existsSync(join(sheets, "wrong.png"))).toBe(seen.some(({ right, total }) => right < total));
  for (const name of readdirSync(sheets)) {
    expect(readFileSync(join(sheets, name)).subarray(1, 4).toString()).toBe("PNG");
  }
});

test("random numbers alone need no samples", async () => {
  const { exitCode, stdout, stderr } = await evaluate("--groups", "chance");
  expect(exitCode, stderr).toBe(0);
  expect(stdout).toMatch(/\| chance: bits of entropy +\| \d+ different in 200 +\| \d\.\d{3} /);
  expect(counts(stdout)).toEqual({ "chance: same seed, same answer": { right: expect.any(Number), total: 200 } });
});

test("--help names the options", async () => {
  const { exitCode, stdout } = await evaluate("--help");
  expect(exitCode).toBe(0);
  for (const option of ["--samples", "--seed", "--model", "--groups", "--write", "--failures", "--show"]) {
    expect(stdout).toContain(`  ${option} `);
  }
});

test.each([
  ["an unknown option", ["--colour"], "unknown option '--colour'"],
  ["an argument too many", ["count"], "too many arguments"],
  ["no samples", ["--samples", "0"], "Expected at least 1."],
  ["a seed that is none", ["--seed", "x"], "Expected a whole number."],
  ["an unknown group", ["--groups", "count,sing"], "--groups: expected some of describe, "],
  ["a model without a card", ["--write", "--model", "/nowhere"], "/nowhere/README.md"],
])("%s is a usage error, and exits with 2 before anything is loaded", async (_, args, message) => {
  const { exitCode, stdout, stderr } = await evaluate(...args);
  expect(stderr).toContain(message);
  expect(stderr).not.toMatch(/ {4}at |Loading/);
  expect({ exitCode, stdout, left: leftBehind() }).toEqual({ exitCode: 2, stdout: "", left: [] });
});

test("Ctrl-C ends it with 130, and nothing is left behind", async () => {
  const running = evaluate("--groups", "count");
  for await (const line of running.iterable({ from: "stderr" })) if (line.startsWith("Asking")) running.kill("SIGINT");
  const { exitCode, stdout, stderr } = await running;
  expect({ exitCode, stdout, left: leftBehind() }, stderr).toEqual({ exitCode: 130, stdout: "", left: [] });
});
