import {
  connect,
  type GenerateInput,
  type GenerateResult,
  type Glimpse,
  image,
  launch,
  type PromptInput,
  pdf,
  video,
} from "../sdk/index.ts";
import { parseAllowHosts } from "../sdk/media/allow-hosts.ts";
import { readAny } from "../sdk/media/any.ts";
import { fetchLimits } from "../sdk/media/fetch.ts";
import { prepareRequest } from "../sdk/request/prepare.ts";
import { printAnswer } from "./answer.ts";
import { ensureEnvironment } from "./environment.ts";
import { exitCodes, explain, reportFailure } from "./failure.ts";
import type { Interruption } from "./interruption.ts";
import { showLoading } from "./loading.ts";
import type { DescribeOptions } from "./options.ts";
import { ProgressDisplay } from "./progress.ts";
import { print } from "./terminal.ts";

/** `glimpse describe`: describes one picture, video or PDF after the other, and resolves to the exit code. */
export async function describe(
  pictures: readonly string[],
  options: DescribeOptions,
  interruption: Interruption,
): Promise<number> {
  const task = new Description(pictures, options, interruption);
  try {
    await task.checkWithoutModel();
    if (!task.needsModel) return task.exitCode;
    await using glm = await start(options, interruption.signal);
    await task.run(glm);
  } catch (error) {
    task.failAll(error);
  }
  return task.exitCode;
}

/**
 * Sets up the Python environment if need be, and loads the model, both shown on stderr; or connects to the background
 * orchestrator, if that was asked for.
 */
export async function start(options: DescribeOptions, signal: AbortSignal): Promise<Glimpse> {
  if (options.connect) return connect({ name: options.name, allowHosts: options.allowHost, signal });
  await ensureEnvironment(options.python, { signal });
  const display = new ProgressDisplay();
  const { model, revision, device, dtype, engine, kvCacheMemoryBytes, python, allowHost } = options;
  try {
    return await launch({
      model,
      revision,
      device,
      dtype,
      engine,
      kvCacheMemoryBytes,
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
  /** What is wrong with a picture, as far as that is known without a model. */
  readonly #known = new Map<string, unknown>();

  constructor(pictures: readonly string[], options: DescribeOptions, interruption: Interruption) {
    this.#pictures = pictures;
    this.#options = options;
    this.#interruption = interruption;
  }

  /**
   * Finds what a model is not needed for: loading one may take minutes, a wrong option or path is known at once. URLs
   * are left for later, so that nothing is fetched twice. Throws for what concerns every picture.
   */
  async checkWithoutModel(): Promise<void> {
    const { signal } = this.#interruption;
    const check = (input: GenerateInput) =>
      prepareRequest(input, { allowHosts: this.#allowHosts, newSeed: () => 0, signal });
    await check(this.#request({ prompt: this.#options.prompt ?? "?" }));
    this.#checkMediaOptions();
    for (const picture of this.#pictures.filter((name) => !/^https?:/i.test(name))) {
      await this.#requestFor(picture)
        .then(check)
        .catch((error: unknown) => this.#known.set(picture, error));
    }
    if (this.needsModel) return;
    for (const picture of this.#pictures) this.#fail(picture, this.#known.get(picture));
  }

  get needsModel(): boolean {
    return this.#pictures.some((picture) => !this.#known.has(picture));
  }

  async run(glm: Glimpse): Promise<void> {
    for (const [index, picture] of this.#pictures.entries()) {
      if (this.#interruption.happened) return;
      if (!this.#options.json && this.#pictures.length > 1) {
        print(process.stdout, `${index > 0 ? "\n" : ""}==> ${picture} <==\n`);
      }
      try {
        if (this.#known.has(picture)) throw this.#known.get(picture);
        await this.#describe(glm, picture);
      } catch (error) {
        this.#fail(picture, error);
      }
    }
  }

  /** For what happens before the first picture: none of them gets a description. */
  failAll(error: unknown): void {
    if (this.#interruption.happened) return;
    this.exitCode = reportFailure(error);
    if (!this.#options.json) return;
    for (const picture of this.#pictures) printJson({ picture, error: explain(error) });
  }

  get #allowHosts(): ReadonlySet<string> {
    return parseAllowHosts(this.#options.allowHost ?? []);
  }

  /** A wrong one concerns every medium of its kind, if there is none of them too. */
  #checkMediaOptions(): void {
    const { maxPixels, fps, maxFrames, pages, dpi } = this.#options;
    const nothing = new Uint8Array();
    video(nothing, { maxPixels, fps, maxFrames });
    pdf(nothing, { pages, dpi });
  }

  /** Reads what `address` leads to, which is told by its bytes. */
  async #requestFor(address: string): Promise<GenerateInput> {
    const { signal } = this.#interruption;
    const medium = await readAny(address, { allowHosts: this.#allowHosts, limits: fetchLimits, signal });
    const { prompt, maxPixels, fps, maxFrames, pages, dpi } = this.#options;
    switch (medium.kind) {
      case "image":
        return this.#request({
          prompt: prompt ?? "Describe this image.",
          images: [image(medium.image, { maxPixels })],
        });
      case "video":
        return this.#request({
          prompt: prompt ?? "What happens in this video?",
          video: video(medium.video, { fps, maxFrames, maxPixels }),
        });
      case "pdf":
        return this.#request({
          prompt: prompt ?? "Read all the text in this image.",
          pdf: pdf(medium.pdf, { pages, dpi, maxPixels }),
        });
      default:
        return medium satisfies never;
    }
  }

  #request(asked: PromptInput): GenerateInput {
    const { maxNewTokens, maxThinkingTokens, seed, stop } = this.#options;
    const { temperature, topP, topK, repetitionPenalty } = this.#options;
    const sampling = { temperature, topP, topK, repetitionPenalty, seed };
    const { signal } = this.#interruption;
    return { ...asked, maxNewTokens, maxThinkingTokens, ...sampling, stop, signal };
  }

  async #describe(glm: Glimpse, picture: string): Promise<GenerateResult> {
    const stream = glm.stream(await this.#requestFor(picture));
    if (!this.#options.json) return printAnswer(stream);
    const result = await stream.result;
    printJson({ picture, ...result });
    return result;
  }

  #fail(picture: string, error: unknown): void {
    if (this.#interruption.happened) return;
    this.exitCode = Math.max(this.exitCode, reportFailure(error, this.#pictures.length > 1 ? picture : undefined));
    if (this.#options.json) printJson({ picture, error: explain(error) });
  }
}

function printJson(value: object): void {
  print(process.stdout, `${JSON.stringify(value)}\n`);
}
