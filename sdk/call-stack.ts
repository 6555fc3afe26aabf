/** Where a call came from: an error shows it in the place of its own stack, as that of the event loop helps nobody. */
export class CallStack {
  readonly #frames: readonly string[];

  constructor() {
    const at: { stack?: string } = {};
    Error.captureStackTrace(at, CallStack);
    this.#frames = at.stack?.split("\n").slice(1) ?? [];
  }

  showIn(error: Error): void {
    error.stack = [`${error.name}: ${error.message}`, ...this.#frames].join("\n");
  }
}
