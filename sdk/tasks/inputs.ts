import { invalid } from "../invalid.ts";
import type { ImageSource } from "../media/image.ts";
import { isPdf, type PdfRef } from "../media/pdf.ts";
import { isVideo, type VideoRef } from "../media/video.ts";
import type { GenerateInput } from "../request/input.ts";
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

const reading = { text: "Read all the text in this image.", markdown: "Convert this page to Markdown." };

/** Reads a page, or what is shown of a PDF: greedy, as there is one right answer. */
export function ocr(page: ImageSource | PdfRef, { format = "text", ...options }: OcrOptions = {}): GenerateInput {
  if (!Object.hasOwn(reading, format)) throw invalid("format", '"text" or "markdown"', format);
  return ask(page, reading[format], greedy(options));
}

/** One sentence about a picture or a video. */
export function caption(media: ImageSource | VideoRef, options: TaskOptions = {}): GenerateInput {
  return ask(media, `Describe this ${isVideo(media) ? "video" : "image"} in one sentence.`, options);
}

/** All that there is to say about a picture or a video. */
export function describe(media: ImageSource | VideoRef, options: TaskOptions = {}): GenerateInput {
  return ask(media, isVideo(media) ? "What happens in this video?" : "Describe this image in detail.", options);
}

/** Points at `what` with boxes, in the words of the model's authors: greedy, as there is one right answer. */
export function locate(picture: ImageSource, what: string, options: TaskOptions = {}): GenerateInput {
  if (typeof what !== "string" || what.trim() === "") throw invalid("what", "a text that names what to point at", what);
  const words = `Please pinpoint the bounding box [[x1,y1,x2,y2], …] in the image as per the given description. ${what}`;
  return ask(picture, words, greedy(options));
}

function ask(media: ImageSource | PdfRef | VideoRef, words: string, options: TaskOptions): GenerateInput {
  if ("output" in options && options.output !== undefined) {
    const hint = "Use generate() with a prompt of your own, which can name the keys of the schema.";
    throw invalid("output", "none in a ready task, which asks for text", options.output, hint);
  }
  const { prompt = words, thinking = false, ...rest } = options;
  const shown = isVideo(media) ? { video: media } : isPdf(media) ? { pdf: media } : { images: [media] };
  return { ...rest, ...shown, prompt, maxThinkingTokens: rest.maxThinkingTokens ?? (thinking ? undefined : 0) };
}

function greedy<Options extends TaskOptions>(options: Options): Options {
  return options.preset === undefined ? { ...options, temperature: options.temperature ?? 0 } : options;
}
