/**
 * Those that wait, in the order in which they were accepted: `sequence` grows with every request and is never used twice.
 * What a lost worker gives back is never refused and takes its old place, before everything that was accepted after it.
 * Items may come and go while the queue is gone through.
 */
export class RequestQueue<T extends { readonly sequence: number }> {
  readonly #limit: number;
  /** Rising in `sequence`, so that any item is found by halving. */
  readonly #items: T[] = [];

  /** `limit`: how many may wait. */
  constructor(limit: number) {
    this.#limit = limit;
  }

  get length(): number {
    return this.#items.length;
  }

  admit(item: T): "admitted" | "full" {
    if (this.#items.length >= this.#limit) return "full";
    this.#insert(item);
    return "admitted";
  }

  giveBack(item: T): void {
    this.#insert(item);
  }

  /** Whether it was there. */
  remove(item: T): boolean {
    const index = this.#firstFrom(item.sequence);
    if (this.#items[index] !== item) return false;
    // Most leave from the front, where `shift` moves nothing.
    if (index === 0) this.#items.shift();
    else this.#items.splice(index, 1);
    return true;
  }

  *[Symbol.iterator](): Generator<T, undefined> {
    let index = 0;
    for (let item = this.#items[0]; item !== undefined; item = this.#items[index]) {
      yield item;
      // What came or went meanwhile has moved the others.
      index = this.#items[index] === item ? index + 1 : this.#firstFrom(item.sequence + 1);
    }
  }

  #insert(item: T): void {
    const last = this.#items.at(-1);
    if (last === undefined || last.sequence < item.sequence) this.#items.push(item);
    else this.#items.splice(this.#firstFrom(item.sequence), 0, item);
  }

  /** The index of the first item whose sequence is at least this. */
  #firstFrom(sequence: number): number {
    let [low, high] = [0, this.#items.length];
    while (low < high) {
      const middle = (low + high) >>> 1;
      const item = this.#items[middle];
      if (item !== undefined && item.sequence < sequence) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}

const FEWEST_MS = 100;
const MOST_MS = 60_000;
/** While nothing is known, as before the first endings. */
const UNKNOWN_MS = 5_000;
/** Endings that are remembered, and for how long: after an idle night nothing is known. */
const WINDOW = 64;
const WINDOW_MS = 60_000;

/** How fast requests end, for the hint that QUEUE_FULL gives. `now` is any clock in milliseconds that never goes back. */
export class EndingRate {
  readonly #endings: number[] = [];

  ended(now: number): void {
    this.#endings.push(now);
    if (this.#endings.length > WINDOW) this.#endings.shift();
  }

  /** In how long, at the present rate, as many end as now wait: 100 ms to 60 s. */
  retryAfterMs(waiting: number, now: number): number {
    const recent = this.#endings.filter((ending) => now - ending <= WINDOW_MS);
    const [oldest] = recent;
    // The first one only says when counting began.
    if (oldest === undefined || recent.length < 2) return UNKNOWN_MS;
    const eachMs = (now - oldest) / (recent.length - 1);
    return Math.round(Math.min(Math.max(waiting * eachMs, FEWEST_MS), MOST_MS));
  }
}
