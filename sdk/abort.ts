import { GlimpseError } from "../protocol/errors.ts";

/** What a request ends with when its signal fires. */
export function requestAborted({ reason }: AbortSignal): GlimpseError {
  return new GlimpseError("ABORTED", "the request was aborted by its signal", { cause: reason });
}

type Follower = { call: () => void };

const followersOf = new WeakMap<AbortSignal, Set<Follower>>();

/**
 * Calls `callback` when `signal` fires, unless it was let go by then; not for a signal that has fired already. However
 * many follow a signal, it has one listener, and none when the last one has let go: callers share one signal among many
 * requests, and Node warns of the eleventh listener.
 */
export function onAbort(signal: AbortSignal, callback: () => void): () => void {
  const followers = followersOf.get(signal) ?? new Set<Follower>();
  const follower = { call: callback };
  followersOf.set(signal, followers.add(follower));
  // One function for all signals: adding it again changes nothing.
  signal.addEventListener("abort", callFollowers);
  return () => {
    followers.delete(follower);
    if (followers.size === 0) signal.removeEventListener("abort", callFollowers);
  };
}

function callFollowers(this: AbortSignal): void {
  for (const follower of followersOf.get(this) ?? []) follower.call();
}

/** An AbortController that also fires with `signal`, until it is released. (AbortSignal.any has no release.) */
export function followSignal(
  signal: AbortSignal | undefined,
  reasonOf: (signal: AbortSignal) => unknown = ({ reason }) => reason,
): { controller: AbortController; release: () => void } {
  const controller = new AbortController();
  if (signal === undefined) return { controller, release: () => {} };
  const abort = (): void => controller.abort(reasonOf(signal));
  if (signal.aborted) abort();
  return { controller, release: onAbort(signal, abort) };
}

/** Settles as `work` does, or rejects with the signal's reason if that fires first. `work` itself goes on. */
export function orAborted<Value>(work: Promise<Value>, signal: AbortSignal): Promise<Value> {
  return new Promise((resolve, reject) => {
    const abort = () => reject(signal.reason);
    if (signal.aborted) abort();
    const letGo = onAbort(signal, abort);
    work.then(resolve, reject).finally(letGo);
  });
}
