import { invalid } from "../invalid.ts";
import type { ImageSource } from "../media/image.ts";
import { isPdf, type PdfRef } from "../media/pdf.ts";
import { isVideo, type VideoRef } from "../media/video.ts";
import type { GenerateInput } from "../request/input.ts";
import { checked, type OcrOptions, type TaskOptions } from "./options.ts";

const reading = { text: "Read all the text in this image.", markdown: "Convert this page to Markdown." };

/** Reads a page, or what is shown of a PDF: greedy, as there is one right answer. */
export function ocr(page: ImageSource | PdfRef, options: OcrOptions = {}): GenerateInput {
  const { format = "text", ...rest } = checked(options, "format");
  if (!Object.hasOwn(reading, format)) throw invalid("format", '"text" or "markdown"', format);
  return ask(page, reading[format], greedy(rest));
}

/** One sentence about a picture or a video. */
export function caption(media: ImageSource | VideoRef, options: TaskOptions = {}): GenerateInput {
  return ask(media, `Describe this ${isVideo(media) ? "video" : "image"} in one sentence.`, checked(options));
}

/** All that there is to say about a picture or a video. */
export function describe(media: ImageSource | VideoRef, options: TaskOptions = {}): GenerateInput {
  return ask(
    media,
    isVideo(media) ? "What happens in this video?" : "Describe this image in detail.",
    checked(options),
  );
}

/** Points at `what` with boxes, in the words of the model's authors: greedy, as there is one right answer. */
export function locate(picture: ImageSource, what: string, options: TaskOptions = {}): GenerateInput {
  if (typeof what !== "string" || what.trim() === "") throw invalid("what", "a text that names what to point at", what);
  const words = `Please pinpoint the bounding box [[x1,y1,x2,y2], …] in the image as per the given description. ${what}`;
  return ask(picture, words, greedy(checked(options)));
}

function ask(media: ImageSource | PdfRef | VideoRef, words: string, options: TaskOptions): GenerateInput {
  const { prompt = words, thinking = false, ...rest } = options;
  const shown = isVideo(media) ? { video: media } : isPdf(media) ? { pdf: media } : { images: [media] };
  return { ...rest, ...shown, prompt, maxThinkingTokens: rest.maxThinkingTokens ?? (thinking ? undefined : 0) };
}

function greedy<Options extends TaskOptions>(options: Options): Options {
  return options.preset === undefined ? { ...options, temperature: options.temperature ?? 0 } : options;
}
