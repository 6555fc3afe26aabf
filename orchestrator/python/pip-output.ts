import { statSync } from "node:fs";
import { basename } from "node:path";

/** What pip is busy with, as its output tells. `done` is absent where nothing is downloaded. */
export interface PipProgress {
  detail: string;
  done?: number;
  total?: number;
}

const units: Record<string, number> = { bytes: 1, kB: 1e3, MB: 1e6, GB: 1e9 };

/** Reads the lines that pip prints with `--progress-bar raw`: sums up what it fetched, and says what it does now. */
export class PipOutput {
  files = 0;
  bytes = 0;
  #file = "";

  /** Progress, if the line tells of any. */
  read(line: string): PipProgress | undefined {
    const raw = /^Progress (\d+) of (\d+)$/.exec(line);
    if (raw) return { detail: this.#file, done: Number(raw[1]), total: Number(raw[2]) };
    const local = /^\s*Processing (\/.*\.whl)/.exec(line);
    if (local?.[1]) return this.#begin(basename(local[1]), statSync(local[1], { throwIfNoEntry: false })?.size ?? 0);
    const fetched = /^\s*(?:Downloading|Using cached) (\S+\.whl) \(([\d.]+) (bytes|kB|MB|GB)\)/.exec(line);
    if (fetched) {
      const [, url = "", size, unit = "bytes"] = fetched;
      return this.#begin(decodeURIComponent(basename(url)), Number(size) * (units[unit] ?? 1));
    }
    if (line.startsWith("Installing collected packages")) return { detail: `unpacking ${this.files} packages` };
    return undefined;
  }

  #begin(file: string, bytes: number): PipProgress {
    this.#file = file;
    this.files += 1;
    this.bytes += bytes;
    return { detail: file };
  }
}
