import { onTestFinished, vi } from "vitest";

/** A deadline that passes when the test says so, and not before what it waits for has come. */
export class Deadline {
  /** As `timeoutMs`. */
  readonly ms = 3_599_999;
  readonly #timers = vi.spyOn(globalThis, "setTimeout");

  constructor() {
    onTestFinished(() => this.#timers.mockRestore());
  }

  pass(): void {
    const [expire] = this.#timers.mock.calls.findLast(([, milliseconds]) => milliseconds === this.ms) ?? [];
    if (expire === undefined) throw new Error("nobody has set this deadline");
    expire();
  }
}
