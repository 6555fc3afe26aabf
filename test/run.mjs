// `npm test`: every test, TypeScript and Python, after what set-up they need. Arguments go to vitest.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { root } from "../bin/bootstrap.mjs";
import { prepare } from "./prepare.mjs";

const python = await prepare();
const reports = mkdtempSync(join(tmpdir(), "glimpse-test-"));
process.on("exit", () => rmSync(reports, { recursive: true, force: true }));
let started = 0;

/**
 * Resolves to the exit status. What the tests leave behind, in a directory of their own, goes with the reports. With
 * `quietly` what it writes is shown as a whole at its end, because something else runs beside it.
 */
async function run(command, args, { cwd, env = {}, quietly = false }) {
  const TMPDIR = join(reports, String(started++));
  mkdirSync(TMPDIR);
  const stdio = ["ignore", quietly ? "pipe" : "inherit", quietly ? "pipe" : "inherit"];
  const child = spawn(command, args, { cwd, stdio, env: { ...process.env, TMPDIR, ...env } });
  const written = [];
  for (const stream of [child.stdout, child.stderr]) stream?.on("data", (chunk) => written.push(chunk));
  try {
    const [status, signal] = await once(child, "close");
    process.stdout.write(Buffer.concat(written));
    if (signal) process.stderr.write(`${command} was ended by ${signal}\n`);
    return status ?? 1;
  } catch (error) {
    process.stderr.write(`${error.message}\n`);
    return 1;
  }
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

async function runVitest() {
  const report = join(reports, "vitest.json");
  const vitest = join(root, "node_modules", "vitest", "vitest.mjs");
  const reporters = ["--reporter=default", "--reporter=json", `--outputFile.json=${report}`];
  const args = [vitest, "run", ...reporters, ...process.argv.slice(2)];
  const status = await run(process.execPath, args, { cwd: root });
  const { numPassedTests, numFailedTests } = JSON.parse(read(report) ?? '{"numPassedTests":0,"numFailedTests":0}');
  return total({ passed: numPassedTests, failed: numFailedTests }, status);
}

/** Two processes share the tests; who is done takes some of the other. Each computes with one thread. */
async function runPytest(directory) {
  const report = join(reports, `${directory}.xml`);
  const args = ["-m", "pytest", "--timeout=180", `--junitxml=${report}`, "-n", "2", "--dist", "worksteal"];
  const status = await run(python, args, { cwd: join(root, directory), env: { OMP_NUM_THREADS: "1" }, quietly: true });
  const suite = /<testsuite [^>]*>/.exec(read(report) ?? "")?.[0] ?? "";
  const count = (name) => Number(new RegExp(`\\b${name}="(\\d+)"`).exec(suite)?.[1] ?? 0);
  const failed = count("failures") + count("errors");
  return total({ passed: count("tests") - failed - count("skipped"), failed }, status);
}

async function runAllPytest() {
  return [await runPytest("python-worker"), await runPytest("models")];
}

// Side by side: the tests in TypeScript mostly wait, for processes that start and for limits that pass.
const results = (await Promise.all([runVitest(), runAllPytest()])).flat();
const passed = results.reduce((sum, result) => sum + result.passed, 0);
const failed = results.reduce((sum, result) => sum + result.failed, 0);
process.stdout.write(`\n${passed} passed, ${failed} failed\n`);
process.exitCode = Math.max(...results.map(({ status }) => status));
