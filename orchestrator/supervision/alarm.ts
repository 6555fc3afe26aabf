/** A timer of Node counts to 24 days. */
const LONGEST_MS = 24 * 24 * 60 * 60 * 1_000;

/** Wakes whoever supervises a worker, and says how late that is. All times are those of `performance.now()`. */
export class Alarm {
  readonly #wake: (lateMs: number) => void;
  #timer: NodeJS.Timeout | undefined;
  #stopped = false;

  constructor(wake: (lateMs: number) => void) {
    this.#wake = wake;
  }

  /** Takes the place of the time that was set before; undefined: none. It wakes early for a time that is far away. */
  set(due: number | undefined): void {
    clearTimeout(this.#timer);
    if (due === undefined || this.#stopped) return;
    const now = performance.now();
    const next = Math.min(due, now + LONGEST_MS);
    this.#timer = setTimeout(() => this.#ring(next), Math.max(0, next - now));
  }

  /** For ever. */
  stop(): void {
    this.#stopped = true;
    clearTimeout(this.#timer);
  }

  /** What came in while this process was held up is heard first: timers go before sockets. */
  #ring(due: number): void {
    const lateMs = performance.now() - due;
    setImmediate(() => {
      if (!this.#stopped) this.#wake(lateMs);
    });
  }
}
