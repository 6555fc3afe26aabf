import type { GlimpseError } from "../protocol/errors.ts";
import { lostWorker, poisonRequest } from "./crash-report.ts";
import type { CrashReport } from "./events.ts";
import type { Continuation, Request } from "./request.ts";

export type OnWorkerLoss = "resume" | "restart" | "fail";

export interface FailoverPolicy {
  onWorkerLoss: OnWorkerLoss;
  /** Whether a worker can go on after the tokens of another. */
  canResume: boolean;
}

/** What becomes of a request whose worker was lost. */
export type Fate =
  | { kind: "over" }
  | { kind: "fails"; outcome: "failed" | "quarantined"; error: GlimpseError }
  /** `suspected`: from now on it shares a worker with nobody. */
  | { kind: "goes on"; continuation: Continuation; suspected: boolean };

/** Below it a temperature is greedy, as in protocol/messages.ts. */
const GREEDY_BELOW = 1e-5;

/** Tells the request of its loss; `alone`: nothing else was on board. */
export function fateOf(request: Request, report: CrashReport, alone: boolean, policy: FailoverPolicy): Fate {
  const wasSuspect = request.alone;
  const verdict = request.lost({ alone, outside: report.cause === "silent" || isSignalOfOthers(report) });
  if (request.state === "ended") return { kind: "over" };
  if (verdict === "quarantine") {
    return { kind: "fails", outcome: "quarantined", error: poisonRequest(report, request.losses) };
  }
  const next = continuationOf(request, policy);
  if ("cannot" in next) return { kind: "fails", outcome: "failed", error: lostWorker(report, next.cannot) };
  return { kind: "goes on", ...next, suspected: verdict === "alone" && !wasSuspect };
}

function continuationOf(
  request: Request,
  { onWorkerLoss, canResume }: FailoverPolicy,
): { continuation: Continuation } | { cannot: string } {
  if (onWorkerLoss === "fail") return { cannot: 'onWorkerLoss is "fail"' };
  if (request.tokenCount === 0 || onWorkerLoss === "restart") return { continuation: "from the start" };
  if (canResume) return { continuation: "after the tokens" };
  if ((request.submission.options.temperature ?? 1) < GREEDY_BELOW) return { continuation: "from the start" };
  return { cannot: "the reference engine cannot go on in the middle of a sampled answer" };
}

/** Somebody else, or the kernel for want of memory, may have ended it: not the request's doing. */
function isSignalOfOthers({ cause, exit }: CrashReport): boolean {
  return cause === "exited" && exit.kind === "signalled" && (exit.signal === "SIGKILL" || exit.signal === "SIGTERM");
}
