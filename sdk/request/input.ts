import type { ImageSource } from "../media/image.ts";
import type { PdfSource } from "../media/pdf.ts";
import type { VideoSource } from "../media/video.ts";
import type { GenerateOptions } from "./options.ts";

export type TextContent = { type: "text"; text: string };

/** A picture, written as transformers' processors take it: by `url` (http(s), data URL or path), `path` (a file only) or `base64`; or by `image`. */
export type ImageContent =
  | { type: "image"; url: string | URL }
  | { type: "image"; image: ImageSource }
  | { type: "image"; path: string }
  | { type: "image"; base64: string };

/** A video, written likewise; `video` also takes what `video()` returned. */
export type VideoContent =
  | { type: "video"; url: string | URL }
  | { type: "video"; video: VideoSource }
  | { type: "video"; path: string }
  | { type: "video"; base64: string };

/** A PDF, whose pages are pictures at its place; `pdf` also takes what `pdf()` returned. */
export type PdfContent =
  | { type: "pdf"; url: string | URL }
  | { type: "pdf"; pdf: PdfSource }
  | { type: "pdf"; path: string }
  | { type: "pdf"; base64: string };

export type Content = TextContent | ImageContent | VideoContent | PdfContent;

/** One turn, in the format of the model card's transformers script. Media stand in the user's turns. */
export interface Message {
  role: "system" | "user" | "assistant";
  content: string | readonly Content[];
}

export interface MessagesInput {
  /** The conversation; the last message is the user's. At most 300 pictures and pages, or one video, in all of it. */
  messages: readonly Message[];
  prompt?: undefined;
  images?: undefined;
  pdf?: undefined;
  video?: undefined;
  system?: undefined;
}

/** One user turn: the pictures, then the pages of the PDF, or the video, come before the text. */
export interface PromptInput {
  prompt: string;
  images?: readonly ImageSource[] | undefined;
  pdf?: PdfSource | undefined;
  video?: VideoSource | undefined;
  system?: string | undefined;
  messages?: undefined;
}

/** What to answer, and how. Nothing in it is changed, and what is changed in it after the call has no effect. */
export type GenerateInput = (MessagesInput | PromptInput) & GenerateOptions;
