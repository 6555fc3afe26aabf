/** What Python's side of the bench notes, in nanoseconds of the clock that `now` reads too (CLOCK_MONOTONIC). */
export interface Stamps {
  /** When the request was there. */
  received: number;
  /** When each message was given away. */
  emitted: number[];
  /** How long the names of the request's pictures took. */
  hashed: number;
}

export const now = () => Number(process.hrtime.bigint());
