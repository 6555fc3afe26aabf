import { GlimpseError } from "../protocol/errors.ts";
import { type ControlFromWorker, PROTOCOL_VERSION } from "../protocol/messages.ts";

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
