import { exitCodes } from "./failure.ts";

/** What ends the command from outside: a signal, or a reader of stdout that went away. */
export class Interruption {
  readonly #controller = new AbortController();
  #exitCode: number | undefined;

  constructor() {
    process.on("SIGINT", () => this.#end(exitCodes.interrupted));
    process.on("SIGTERM", () => this.#end(exitCodes.terminated));
    process.stdout.on("error", (error: NodeJS.ErrnoException) => {
      if (error.code !== "EPIPE") throw error;
      this.#end(exitCodes.readerGone);
    });
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  /** Undefined as long as nothing has interrupted the command. */
  get exitCode(): number | undefined {
    return this.#exitCode;
  }

  #end(exitCode: number): void {
    // The first one asks for an orderly end; who asks again does not want to wait for it.
    if (this.#exitCode === exitCode && exitCode !== exitCodes.readerGone) process.exit(exitCode);
    this.#exitCode ??= exitCode;
    this.#controller.abort();
  }
}
