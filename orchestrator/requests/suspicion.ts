/** A worker was lost while the request was on board. */
export interface Loss {
  /** Nothing else was on board. */
  alone: boolean;
  /** The request got at least one new token in this attempt. */
  progressed: boolean;
  /** The worker ended by SIGKILL or SIGTERM, or was silent: that may well be somebody else's doing. */
  outside: boolean;
}

/** `alone`: the request is a suspect and from now on shares a worker with nobody. */
export type Verdict = "retry" | "alone" | "quarantine";

const LOSSES_OF_A_SUSPECT = 2;
const FRUITLESS_IN_A_ROW = 2;
/** Somebody who ends workers may hit the same request twice. */
const FRUITLESS_IN_A_ROW_FROM_OUTSIDE = 3;
/** However far it got each time. */
const LOSSES_ALONE = 5;

/**
 * Whether a request ends the workers that it is on board of. Being there proves nothing while others are: only a worker
 * that is lost with nothing else on board accuses the request, and only if that is no single mishap.
 */
export class Suspicion {
  #losses = 0;
  #alone = 0;
  /** Losses in a row, the last included, that came before a single new token. */
  #fruitless = 0;

  get losses(): number {
    return this.#losses;
  }

  get suspect(): boolean {
    return this.#losses >= LOSSES_OF_A_SUSPECT;
  }

  lost(loss: Loss): Verdict {
    this.#losses += 1;
    this.#alone += loss.alone ? 1 : 0;
    this.#fruitless = loss.progressed ? 0 : this.#fruitless + 1;
    if (loss.alone && this.#isTooMuch(loss)) return "quarantine";
    return this.suspect ? "alone" : "retry";
  }

  #isTooMuch({ outside }: Loss): boolean {
    const fruitless = outside ? FRUITLESS_IN_A_ROW_FROM_OUTSIDE : FRUITLESS_IN_A_ROW;
    return this.#fruitless >= fruitless || this.#alone >= LOSSES_ALONE;
  }
}
