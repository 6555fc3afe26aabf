import { exitCodes } from "./failure.ts";
import { print } from "./terminal.ts";

/** What ends the command from outside: a signal, a reader of stdout that went away, or a stdout that takes nothing. */
export class Interruption {
  readonly #controller = new AbortController();
  #exitCode: number | undefined;

  constructor() {
    process.on("SIGINT", () => this.#onSignal(exitCodes.interrupted));
    process.on("SIGTERM", () => this.#onSignal(exitCodes.terminated));
    process.stdout.on("error", (error) => this.#onStdoutError(error));
    // Nothing can be said any more, but the answer on stdout may still have its reader.
    process.stderr.on("error", () => {});
    // Also for what happens when the command has ended already, and only its last lines are being written.
    process.on("exit", () => {
      if (this.#exitCode !== undefined) process.exitCode = this.#exitCode;
    });
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  /** Whether the command is to end, so that what fails now is no news. */
  get happened(): boolean {
    return this.#exitCode !== undefined;
  }

  /** Whoever sends a signal to a command that is ending already does not want to wait for that. */
  #onSignal(exitCode: number): void {
    if (this.#exitCode !== undefined) process.exit(this.#exitCode);
    this.#end(exitCode);
  }

  #onStdoutError(error: NodeJS.ErrnoException): void {
    if (this.#exitCode !== undefined) return;
    if (error.code === "EPIPE") return this.#end(exitCodes.readerGone);
    print(process.stderr, `glimpse: stdout cannot be written to: ${error.message}\n`);
    this.#end(exitCodes.failed);
  }

  #end(exitCode: number): void {
    this.#exitCode = exitCode;
    this.#controller.abort();
  }
}
