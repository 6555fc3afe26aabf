/** An AbortController that also fires with any of `signals`, until it is released. (AbortSignal.any has no release.) */
export function followSignals(
  signals: readonly (AbortSignal | undefined)[],
  reasonOf: (signal: AbortSignal) => unknown = (signal) => signal.reason,
): { controller: AbortController; release: () => void } {
  const controller = new AbortController();
  const given = signals.filter((signal) => signal !== undefined);
  const follows = given.map((signal) => ({ signal, abort: () => controller.abort(reasonOf(signal)) }));
  for (const { signal, abort } of follows) {
    if (signal.aborted) abort();
    else signal.addEventListener("abort", abort, { once: true });
  }
  const release = (): void => {
    for (const { signal, abort } of follows) signal.removeEventListener("abort", abort);
  };
  return { controller, release };
}

/** Settles as `work` does, or rejects with the signal's reason if that fires first. `work` itself goes on. */
export function orAborted<Value>(work: Promise<Value>, signal: AbortSignal): Promise<Value> {
  return new Promise((resolve, reject) => {
    const abort = () => reject(signal.reason);
    if (signal.aborted) abort();
    signal.addEventListener("abort", abort, { once: true });
    work.then(resolve, reject).finally(() => signal.removeEventListener("abort", abort));
  });
}
