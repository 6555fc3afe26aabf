import { GlimpseError } from "../protocol/errors.ts";
import type { CrashReport } from "./events.ts";
import { describeExit } from "./exit-reason.ts";

/** The worker's exit code when a package is missing without which it cannot even speak. */
const EXIT_PACKAGES_MISSING = 78;

interface Loss extends Pick<CrashReport, "cause" | "exit" | "state"> {
  /** What it said of it, if it said anything. */
  words: string | undefined;
}

/** What happened, in one sentence that stands alone. */
export function describeLoss(worker: string, { cause, exit, state, words }: Loss): string {
  switch (cause) {
    case "exited":
      return `the worker ${worker} ${describeExit(exit)}`;
    case "gave up":
      return `the worker ${worker} left: ${words ?? describeExit(exit)}`;
    case "hung":
      return `the worker ${worker} hung ${state === "loading" ? "while it loaded" : "in a step"} and was ended`;
    case "silent":
      return `nothing was heard of the worker ${worker} and it was ended`;
    case "babbled":
      return `the worker ${worker} sent what is no message and was ended: ${words ?? "unknown"}`;
    default:
      return cause satisfies never;
  }
}

/** For a request that cannot go on elsewhere. */
export function lostWorker(report: CrashReport, why: string): GlimpseError {
  return new GlimpseError("WORKER_LOST", `${report.message}, and ${why}; ${lastWords(report)}`, {
    hint: "Send the request again.",
  });
}

export function poisonRequest(report: CrashReport, losses: number): GlimpseError {
  const what = `${losses} workers were lost with this request on board, the last with nothing else: ${report.message}`;
  return new GlimpseError("POISON_REQUEST", `${what}; ${lastWords(report)}`, {
    hint: "Do not send it again unchanged. If its pictures are sound, please report it.",
  });
}

/** Why no further process is started; `said` is the worker's own reason. */
export function cannotStart(report: CrashReport, python: string, said: GlimpseError | undefined): GlimpseError {
  if (said !== undefined) return said;
  const { exit, stderr } = report;
  if (exit.kind === "exited" && exit.code === EXIT_PACKAGES_MISSING) {
    return new GlimpseError("PYTHON_DEPS_MISSING", `${python}: ${stderr.join("\n")}`, {
      hint: "Run `npx glimpse setup`, or give launch({ python }) an interpreter that has the packages.",
    });
  }
  if (report.cause === "silent" && report.state === "starting") {
    return new GlimpseError("WORKER_START_FAILED", `the worker ${report.worker} said nothing after its start`, {
      hint: `Check that \`${python} -c "import zmq"\` ends quickly.`,
    });
  }
  return new GlimpseError("WORKER_START_FAILED", `${report.message} before it was ready; ${lastWords(report)}`, {
    hint: "Run `npx glimpse setup` if the Python environment is incomplete.",
  });
}

function lastWords({ stderr, stacks }: CrashReport): string {
  if (stacks !== undefined) return `its stacks:\n${stacks}`;
  return stderr.length === 0 ? "it wrote nothing to stderr" : `its last words:\n${stderr.join("\n")}`;
}
