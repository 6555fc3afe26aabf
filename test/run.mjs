// `npm test`: every test, TypeScript and Python, after what set-up they need. Arguments go to vitest.
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { root } from "../bin/bootstrap.mjs";
import { prepare } from "./prepare.mjs";

const python = await prepare();
const reports = mkdtempSync(join(tmpdir(), "glimpse-test-"));
process.on("exit", () => rmSync(reports, { recursive: true, force: true }));
// What the tests leave behind goes with it.
process.env.TMPDIR = reports;

function run(command, args, cwd, env = {}) {
  const stdio = ["ignore", "inherit", "inherit"];
  const { status, signal, error } = spawnSync(command, args, { cwd, stdio, env: { ...process.env, ...env } });
  if (error) process.stderr.write(`${error.message}\n`);
  if (signal) process.stderr.write(`${command} was ended by ${signal}\n`);
  return status ?? 1;
}

function read(path) {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return undefined;
  }
}

/** A run that failed without naming a failed test (it crashed, or an error escaped) counts as one failure. */
function total({ passed, failed }, status) {
  return { passed, failed: status !== 0 && failed === 0 ? 1 : failed, status };
}

function runVitest() {
  const report = join(reports, "vitest.json");
  const vitest = join(root, "node_modules", "vitest", "vitest.mjs");
  const reporters = ["--reporter=default", "--reporter=json", `--outputFile.json=${report}`];
  const status = run(process.execPath, [vitest, "run", ...reporters, ...process.argv.slice(2)], root);
  const { numPassedTests, numFailedTests } = JSON.parse(read(report) ?? '{"numPassedTests":0,"numFailedTests":0}');
  return total({ passed: numPassedTests, failed: numFailedTests }, status);
}

/** Two processes share the tests by files, which share engines; each computes with one thread, not with all cores. */
const inParallel = { args: ["-n", "2", "--dist", "loadfile"], env: { OMP_NUM_THREADS: "1" } };

function runPytest(directory, { args, env } = { args: [], env: {} }) {
  const report = join(reports, `${directory}.xml`);
  const command = ["-m", "pytest", "--timeout=180", `--junitxml=${report}`, ...args];
  const status = run(python, command, join(root, directory), env);
  const suite = /<testsuite [^>]*>/.exec(read(report) ?? "")?.[0] ?? "";
  const count = (name) => Number(new RegExp(`\\b${name}="(\\d+)"`).exec(suite)?.[1] ?? 0);
  const failed = count("failures") + count("errors");
  return total({ passed: count("tests") - failed - count("skipped"), failed }, status);
}

const results = [runVitest(), runPytest("python-worker", inParallel), runPytest("models")];
const passed = results.reduce((sum, result) => sum + result.passed, 0);
const failed = results.reduce((sum, result) => sum + result.failed, 0);
process.stdout.write(`\n${passed} passed, ${failed} failed\n`);
process.exitCode = Math.max(...results.map(({ status }) => status));
