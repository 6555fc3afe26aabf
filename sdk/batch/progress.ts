/** How far a batch is. Items count when their answer is there, whether or not it has been read. */
export interface BatchProgress {
  /** Items that have an ending, good or bad. */
  done: number;
  /** Those of `done` that failed. */
  failed: number;
  /** Those of `done` whose answer the journal had. */
  fromJournal: number;
  /** How many items there are; undefined when nobody knows. */
  total: number | undefined;
  elapsedMs: number;
  /** How long the rest will take at the pace so far; undefined without `total`, or before the first answer. */
  remainingMs: number | undefined;
}

export class ProgressCount {
  readonly #total: number | undefined;
  readonly #startedAt: number;
  #done = 0;
  #failed = 0;
  #fromJournal = 0;

  /** `startedAt` and the `now` of `at` are of one clock, in milliseconds. */
  constructor(total: number | undefined, startedAt: number) {
    this.#total = total;
    this.#startedAt = startedAt;
  }

  ended(ending: { ok: boolean; fromJournal: boolean }): void {
    this.#done += 1;
    if (!ending.ok) this.#failed += 1;
    if (ending.fromJournal) this.#fromJournal += 1;
  }

  at(now: number): BatchProgress {
    const elapsedMs = now - this.#startedAt;
    const answered = this.#done - this.#fromJournal;
    const left = this.#total === undefined ? undefined : Math.max(0, this.#total - this.#done);
    return {
      done: this.#done,
      failed: this.#failed,
      fromJournal: this.#fromJournal,
      total: this.#total,
      elapsedMs,
      remainingMs: left === undefined || answered === 0 ? undefined : (elapsedMs / answered) * left,
    };
  }
}
