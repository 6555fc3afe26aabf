import { invalid, isRecord, refuseUnknownKeys } from "../invalid.ts";
import { type GenerateOptions, optionNames } from "../request/options.ts";

export interface TaskOptions extends GenerateOptions {
  /** Asks in your words in the place of the task's own. */
  prompt?: string | undefined;
  /** Whether the model may think first. Default: no, `maxThinkingTokens` is 0; the reference engine needs `true`. */
  thinking?: boolean | undefined;
}

export interface OcrOptions extends TaskOptions {
  /** `text`: line by line; `markdown`: with headings, lists and tables. Default: text. */
  format?: "text" | "markdown" | undefined;
}

const names = ["prompt", "thinking", ...optionNames];

/**
 * `own` are options that this task has beside those of all. The values of most are the request's to check.
 * @throws GlimpseError INVALID_REQUEST for what the task cannot have.
 */
export function checked<Options extends TaskOptions>(options: Options, ...own: string[]): Options {
  const given: unknown = options;
  if (!isRecord(given)) throw invalid("options of a task", "an object", given);
  if (given["output"] !== undefined) {
    const hint = "Use generate() with a prompt of your own, which can name the keys of the schema.";
    throw invalid("output", "none in a ready task, which asks for text", given["output"], hint);
  }
  refuseUnknownKeys(given, [...own, ...names], "options of a task");
  return options;
}
