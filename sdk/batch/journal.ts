import { type FileHandle, open } from "node:fs/promises";
import { GlimpseError } from "../../protocol/errors.ts";
import type { GenerateResult, StructuredResult } from "../result.ts";

interface Entry {
  key: string;
  /**
   * Without its `output`, which JSON need not be able to hold (a Date, a bigint, an instance of a class): the schema makes
   * it of the text once more.
   */
  result: GenerateResult;
  /** The answer was held to a schema. */
  structured?: true;
}

const READ_BYTES = 64 * 1024;
const LINE_BEGINS = '{"key":';

/**
 * The answers of a run, one line of JSON each, so that a run which was interrupted can go on. Only where each line stands
 * is kept in memory. A last line without its end was torn by the interruption, and is cut off.
 */
export class Journal {
  readonly #path: string;
  readonly #file: FileHandle;
  /** By key: where its line begins, and how many bytes it has. */
  readonly #lines = new Map<string, { at: number; bytes: number }>();
  #writing: Promise<void> = Promise.resolve();

  private constructor(path: string, file: FileHandle) {
    this.#path = path;
    this.#file = file;
  }

  /** Makes the file if there is none. Rejects with INVALID_REQUEST when it is no journal, or cannot be written. */
  static async open(path: string): Promise<Journal> {
    const file = await open(path, "a+").catch((cause: unknown) => {
      throw unusable(path, "written", cause);
    });
    const journal = new Journal(path, file);
    try {
      await file.truncate(await journal.#readAll());
    } catch (error) {
      await file.close();
      throw GlimpseError.is(error) ? error : unusable(path, "written", error);
    }
    return journal;
  }

  has(key: string): boolean {
    return this.#lines.has(key);
  }

  async read(key: string): Promise<Entry> {
    const line = this.#lines.get(key) ?? { at: 0, bytes: 0 };
    const { buffer } = await this.#file
      .read(Buffer.alloc(line.bytes), 0, line.bytes, line.at)
      .catch((cause: unknown) => {
        throw unusable(this.#path, "read", cause);
      });
    return this.#parse(buffer.toString("utf8"));
  }

  /** Resolves when the line is with the operating system, so that the end of this process does not lose it. */
  write(key: string, result: GenerateResult | StructuredResult<unknown>): Promise<void> {
    const line = `${JSON.stringify(toEntry(key, result))}\n`;
    // A file takes one write at a time; what comes after a failed one fails with it.
    this.#writing = this.#writing.then(async () => {
      try {
        await this.#file.appendFile(line);
      } catch (cause) {
        throw unusable(this.#path, "written", cause);
      }
    });
    return this.#writing;
  }

  async close(): Promise<void> {
    await this.#writing.catch(() => {});
    try {
      await this.#file.close();
    } catch (cause) {
      throw unusable(this.#path, "written", cause);
    }
  }

  /** Finds every line, and gives where the last whole one ends. */
  async #readAll(): Promise<number> {
    let [end, line] = [0, Buffer.alloc(0)];
    const chunk = Buffer.alloc(READ_BYTES);
    for (;;) {
      const { bytesRead } = await this.#file.read(chunk, 0, READ_BYTES, end + line.length);
      if (bytesRead === 0) {
        const rest = line.toString("utf8");
        if (!LINE_BEGINS.startsWith(rest.slice(0, LINE_BEGINS.length))) throw this.#notOurs(rest);
        return end;
      }
      line = Buffer.concat([line, chunk.subarray(0, bytesRead)]);
      for (let stop = line.indexOf(10); stop >= 0; stop = line.indexOf(10)) {
        this.#lines.set(this.#parse(line.toString("utf8", 0, stop)).key, { at: end, bytes: stop });
        end += stop + 1;
        line = line.subarray(stop + 1);
      }
    }
  }

  #parse(line: string): Entry {
    try {
      const entry: Partial<Entry> | null = JSON.parse(line);
      if (typeof entry?.key === "string" && typeof entry.result === "object") return entry as Entry;
    } catch {
      // Said below, as of other JSON.
    }
    throw this.#notOurs(line);
  }

  #notOurs(line: string): GlimpseError {
    const what = `journal: expected lines of { key, result } in ${this.#path}, got ${JSON.stringify(line.slice(0, 60))}`;
    return new GlimpseError("INVALID_REQUEST", what, { hint: "Name another file, or remove this one." });
  }
}

function toEntry(key: string, result: GenerateResult | StructuredResult<unknown>): Entry {
  if (!("output" in result)) return { key, result };
  const { output: _, ...rest } = result;
  return { key, structured: true, result: rest };
}

function unusable(path: string, how: "written" | "read", cause: unknown): GlimpseError {
  const { code } = cause as NodeJS.ErrnoException;
  return new GlimpseError("INVALID_REQUEST", `journal: expected a file that can be ${how}, got ${path}: ${code}`, {
    hint: code === "ENOENT" ? "Make its directory first." : undefined,
    cause,
  });
}
