import { appendFileSync, renameSync, statSync } from "node:fs";

const MAX_LOG_BYTES = 1_000_000;

/** A log file that is renamed to `<path>.1` when it is full, in place of the one before. */
export class Log {
  readonly path: string;
  readonly #maxBytes: number;
  #bytes: number;

  constructor(path: string, maxBytes = MAX_LOG_BYTES) {
    this.path = path;
    this.#maxBytes = maxBytes;
    this.#bytes = statSync(path, { throwIfNoEntry: false })?.size ?? 0;
  }

  write(text: string): void {
    const line = `${new Date().toISOString()} ${text.replaceAll("\n", "\n  ")}\n`;
    try {
      if (this.#bytes >= this.#maxBytes) {
        renameSync(this.path, `${this.path}.1`);
        this.#bytes = 0;
      }
      appendFileSync(this.path, line, { mode: 0o600 });
      this.#bytes += Buffer.byteLength(line);
    } catch {
      // A disk that is full must not end the workers.
    }
  }
}
