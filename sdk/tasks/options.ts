import { invalid, isRecord } from "../invalid.ts";
import type { GenerateOptions } from "../request/options.ts";

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

/** @throws GlimpseError INVALID_REQUEST for what a task cannot have. The other options are the request's to check. */
export function checked<Options extends TaskOptions>(options: Options): Options {
  if (!isRecord(options as unknown)) throw invalid("options of a task", "an object", options);
  if ("output" in options && options.output !== undefined) {
    const hint = "Use generate() with a prompt of your own, which can name the keys of the schema.";
    throw invalid("output", "none in a ready task, which asks for text", options.output, hint);
  }
  return options;
}
