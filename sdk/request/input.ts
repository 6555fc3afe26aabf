import type { ImageSource, VideoRef } from "../media/image.ts";
import type { OutputSchema } from "../output/schema.ts";
import type { GenerateOptions } from "./options.ts";

export type TextContent = { type: "text"; text: string };

/** A picture, written as transformers' processors take it: by `url` (http(s), data URL or path), `path` (a file only) or `base64`; or by `image`. */
export type ImageContent =
  | { type: "image"; url: string | URL }
  | { type: "image"; image: ImageSource }
  | { type: "image"; path: string }
  | { type: "image"; base64: string };

export type VideoContent = { type: "video"; video: VideoRef };

export type Content = TextContent | ImageContent | VideoContent;

/** One turn, in the format of the model card's transformers script. Pictures and video stand in the user's turns. */
export interface Message {
  role: "system" | "user" | "assistant";
  content: string | readonly Content[];
}

export interface MessagesInput {
  /** The conversation; the last message is the user's. At most 300 pictures, or one video, in all of it. */
  messages: readonly Message[];
  prompt?: undefined;
  images?: undefined;
  video?: undefined;
  system?: undefined;
}

/** One user turn: the pictures or the video come before the text. */
export interface PromptInput {
  prompt: string;
  images?: readonly ImageSource[] | undefined;
  video?: VideoRef | undefined;
  system?: string | undefined;
  messages?: undefined;
}

/** What to answer, and how. Nothing in it is changed, and what is changed in it after the call has no effect. */
export type GenerateInput = (MessagesInput | PromptInput) & GenerateOptions & { output?: undefined };

/** With a schema for the answer or without. */
export type AnyInput = GenerateInput | StructuredInput<OutputSchema>;

/** The same, with the schema that the answer has to follow. */
export type StructuredInput<Schema extends OutputSchema> = (MessagesInput | PromptInput) &
  Omit<GenerateOptions, "stop"> & {
    /**
     * The answer is JSON that this schema describes, enforced while it is decoded; the thinking is left free, and the
     * result has it as `output`. A zod 4 schema, a Standard Schema that yields JSON Schema, or a JSON Schema; what cannot
     * be enforced is refused by name: docs/STRUCTURED.md. The schema is not shown to the model: say in the prompt what
     * the answer is about. Refused beside `stop`.
     */
    output: Schema;
    stop?: undefined;
  };
