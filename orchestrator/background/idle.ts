/** Calls `onIdle` once when nobody has been connected for `milliseconds`; never for 0. */
export class IdleLimit {
  readonly #milliseconds: number;
  readonly #onIdle: () => void;
  #timer: NodeJS.Timeout | undefined;

  constructor(milliseconds: number, onIdle: () => void) {
    this.#milliseconds = milliseconds;
    this.#onIdle = onIdle;
  }

  /** To be called with every change of the number of clients. */
  clients(count: number): void {
    clearTimeout(this.#timer);
    if (count > 0 || this.#milliseconds === 0) return;
    // Longer than Node's timers count (24 days) is as good as never.
    if (this.#milliseconds < 2 ** 31) this.#timer = setTimeout(this.#onIdle, this.#milliseconds);
  }

  stop(): void {
    clearTimeout(this.#timer);
  }
}
