/** Why a worker process is no more. */
export type ExitReason =
  | { kind: "exited"; code: number }
  | { kind: "signalled"; signal: NodeJS.Signals }
  | { kind: "not-spawned"; message: string };

const SIGNAL_MEANINGS: Partial<Record<NodeJS.Signals, string>> = {
  SIGKILL: "killed, by a person or by the kernel for want of memory",
  SIGSEGV: "a crash in native code",
  SIGBUS: "a crash in native code",
  SIGABRT: "aborted by native code",
  SIGILL: "an instruction that this processor does not have",
  SIGTERM: "asked to end",
};

/** The reason in words, to follow "the worker". */
export function describeExit(exit: ExitReason): string {
  switch (exit.kind) {
    case "exited":
      return `exited with code ${exit.code}`;
    case "signalled": {
      const meaning = SIGNAL_MEANINGS[exit.signal];
      return `was ended by ${exit.signal}${meaning === undefined ? "" : ` (${meaning})`}`;
    }
    case "not-spawned":
      return `could not be started: ${exit.message}`;
    default:
      return exit satisfies never;
  }
}
