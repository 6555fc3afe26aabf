import { type GenerateResult, type Glimpse, launch } from "../sdk/index.ts";
import { printAnswer } from "./answer.ts";
import { ensureEnvironment } from "./environment.ts";
import { exitCodes, explain, reportFailure } from "./failure.ts";
import { Interruption } from "./interruption.ts";
import { showLoading } from "./loading.ts";
import type { DescribeOptions } from "./options.ts";
import { ProgressDisplay } from "./progress.ts";

/** `glimpse describe`: describes one picture after the other, and resolves to the exit code. */
export async function describe(pictures: readonly string[], options: DescribeOptions): Promise<number> {
  const interruption = new Interruption();
  const task = new Description(pictures, options, interruption);
  try {
    await using glm = await start(options, interruption.signal);
    await task.run(glm);
  } catch (error) {
    task.failAll(error);
  }
  return interruption.exitCode ?? task.exitCode;
}

/** Sets up the Python environment if need be, and loads the model, both shown on stderr. */
export async function start(options: DescribeOptions, signal: AbortSignal): Promise<Glimpse> {
  await ensureEnvironment(options.python, { signal });
  const display = new ProgressDisplay();
  const { model, revision, device, dtype, python, allowHost } = options;
  try {
    return await launch({
      model,
      revision,
      device,
      dtype,
      python,
      allowHosts: allowHost,
      signal,
      onEvent: showLoading(display),
    });
  } finally {
    display.clear();
  }
}

class Description {
  exitCode: number = exitCodes.good;
  readonly #pictures: readonly string[];
  readonly #options: DescribeOptions;
  readonly #interruption: Interruption;

  constructor(pictures: readonly string[], options: DescribeOptions, interruption: Interruption) {
    this.#pictures = pictures;
    this.#options = options;
    this.#interruption = interruption;
  }

  async run(glm: Glimpse): Promise<void> {
    for (const [index, picture] of this.#pictures.entries()) {
      if (this.#interruption.exitCode !== undefined) return;
      if (!this.#options.json && this.#pictures.length > 1) {
        process.stdout.write(`${index > 0 ? "\n" : ""}==> ${picture} <==\n`);
      }
      try {
        await this.#describe(glm, picture);
      } catch (error) {
        this.#fail(picture, error);
      }
    }
  }

  /** For what happens before the first picture: none of them gets a description. */
  failAll(error: unknown): void {
    if (this.#interruption.exitCode !== undefined) return;
    this.exitCode = reportFailure(error);
    if (!this.#options.json) return;
    for (const picture of this.#pictures) printJson({ picture, error: explain(error) });
  }

  async #describe(glm: Glimpse, picture: string): Promise<GenerateResult> {
    const { prompt, maxNewTokens, temperature, topP, topK, repetitionPenalty, seed, stop } = this.#options;
    const stream = glm.stream({
      prompt,
      images: [picture],
      maxNewTokens,
      temperature,
      topP,
      topK,
      repetitionPenalty,
      seed,
      stop,
      signal: this.#interruption.signal,
    });
    if (!this.#options.json) return printAnswer(stream);
    const result = await stream.result;
    printJson({ picture, ...result });
    return result;
  }

  #fail(picture: string, error: unknown): void {
    if (this.#interruption.exitCode !== undefined) return;
    this.exitCode = Math.max(this.exitCode, reportFailure(error, this.#pictures.length > 1 ? picture : undefined));
    if (this.#options.json) printJson({ picture, error: explain(error) });
  }
}

function printJson(value: object): void {
  process.stdout.write(`${JSON.stringify(value)}\n`);
}
