import { GlimpseError } from "../protocol/errors.ts";
import { type ControlFromWorker, PROTOCOL_VERSION } from "../protocol/messages.ts";
import { describeExit, type ExitReason } from "./exit-reason.ts";

export type Fault = ControlFromWorker & { type: "fault" };

/** What is known of a worker that is no more. */
export interface Death {
  worker: string;
  python: string;
  exit: ExitReason;
  /** Why it said that it leaves. */
  fault: Fault | undefined;
  /** The end of its stderr. */
  stderr: string;
}

/** The worker's exit code when a package is missing without which it cannot even speak. */
const EXIT_PACKAGES_MISSING = 78;

export function lostWorker(death: Death): GlimpseError {
  if (death.fault?.reason === "frame refused") {
    return new GlimpseError("PROTOCOL_ERROR", `the worker refused a message: ${death.fault.message}`, {
      hint: "This is a defect of Glimpse; the same request would end the next worker too.",
    });
  }
  const what = `the worker ${death.worker} ${describeExit(death.exit)}; ${lastWords(death)}`;
  return new GlimpseError("WORKER_LOST", what, { hint: "launch() starts a new one." });
}

export function workerDiedAtStart(death: Death): GlimpseError {
  const { exit, python, stderr } = death;
  if (exit.kind === "exited" && exit.code === EXIT_PACKAGES_MISSING) {
    return new GlimpseError("PYTHON_DEPS_MISSING", `${python}: ${stderr}`, {
      hint: "Run `npx glimpse setup`, or give launch({ python }) an interpreter that has the packages.",
    });
  }
  const what = `the worker ${describeExit(exit)} before it was ready; ${lastWords(death)}`;
  return new GlimpseError("WORKER_START_FAILED", what, {
    hint: "Run `npx glimpse setup` if the Python environment is incomplete.",
  });
}

function lastWords({ fault, stderr }: Death): string {
  if (fault !== undefined) return `it said: ${fault.message}`;
  return stderr === "" ? "it wrote nothing to stderr" : `its last words:\n${stderr}`;
}

export function workerSaidNothing(python: string, milliseconds: number): GlimpseError {
  return new GlimpseError(
    "WORKER_START_FAILED",
    `the worker said nothing within ${milliseconds / 1000} s of its start`,
    {
      hint: `Check that \`${python} -c "import zmq"\` ends quickly.`,
    },
  );
}

/** @throws GlimpseError PROTOCOL_MISMATCH unless it is our worker that says hello, in our version. */
export function checkHello(
  hello: ControlFromWorker & { type: "hello" },
  expected: { token: string; generation: number },
): void {
  if (hello.protocol !== PROTOCOL_VERSION) {
    throw new GlimpseError(
      "PROTOCOL_MISMATCH",
      `the worker speaks protocol ${hello.protocol}, this library ${PROTOCOL_VERSION}`,
      { hint: "Remove other copies of glimpse_worker from PYTHONPATH and from the Python environment." },
    );
  }
  if (hello.token !== expected.token || hello.generation !== expected.generation) {
    throw new GlimpseError("PROTOCOL_MISMATCH", "a process that we did not start said hello on the worker's socket");
  }
}
