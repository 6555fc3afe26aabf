import { eraseLine, type Output, print, size } from "./terminal.ts";

export interface Progress {
  detail?: string | undefined;
  /** Bytes. */
  done?: number | undefined;
  total?: number | undefined;
}

const redrawMs = 200;
/** Between two lines about the same task, where there is no terminal to redraw. */
const plainMs = 5_000;

/** Shows one task after another: on a terminal as a line that is redrawn, elsewhere as plain lines. */
export class ProgressDisplay {
  readonly #output: Output;
  #title: string | undefined;
  #progress: Progress = {};
  #startedAt = 0;
  #shownAt = 0;
  #timer: NodeJS.Timeout | undefined;

  constructor(output: Output = process.stderr) {
    this.#output = output;
  }

  /** Begins a task; one that has not been finished is left behind. */
  start(title: string): void {
    this.clear();
    this.#title = title;
    this.#progress = {};
    this.#startedAt = performance.now();
    this.#shownAt = this.#startedAt;
    if (!this.#output.isTTY) print(this.#output, `${title} …\n`);
    else this.#timer = setInterval(() => this.#draw(), redrawMs).unref();
    this.#draw();
  }

  update(progress: Progress): void {
    this.#progress = progress;
    if (this.#output.isTTY || this.#title === undefined) return;
    if (performance.now() - this.#shownAt < plainMs) return;
    this.#shownAt = performance.now();
    print(this.#output, `  ${this.#state()}\n`);
  }

  /** Ends the task with a line that stays. */
  finish(result: string): void {
    if (this.#title === undefined) return;
    const line = [this.#title, result, this.#elapsed()].filter((part) => part !== "").join("  ");
    this.clear();
    print(this.#output, `${line}\n`);
  }

  /** Ends the task, and leaves nothing of it on a terminal. */
  clear(): void {
    clearInterval(this.#timer);
    if (this.#title !== undefined) eraseLine(this.#output);
    this.#title = undefined;
  }

  #draw(): void {
    if (!this.#output.isTTY || this.#title === undefined) return;
    const line = [this.#title, this.#state()].join("  ");
    eraseLine(this.#output);
    print(this.#output, line.slice(0, (this.#output.columns || 80) - 1));
  }

  #state(): string {
    const { detail, done, total } = this.#progress;
    const bytes = done === undefined ? undefined : total === undefined ? size(done) : `${size(done)} of ${size(total)}`;
    return [this.#elapsed(), bytes, detail].filter((part) => part !== undefined).join("  ");
  }

  #elapsed(): string {
    return `${((performance.now() - this.#startedAt) / 1000).toFixed(0)} s`;
  }
}
