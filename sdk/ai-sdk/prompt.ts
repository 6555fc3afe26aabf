import {
  type LanguageModelV3FilePart,
  type LanguageModelV3Message,
  type LanguageModelV3Prompt,
  type SharedV3ProviderOptions,
  UnsupportedFunctionalityError,
} from "@ai-sdk/provider";
import { invalid, refuseUnknownKeys } from "../invalid.ts";
import { image } from "../media/image.ts";
import { pdf } from "../media/pdf.ts";
import { video } from "../media/video.ts";
import type { Content, Message } from "../request/input.ts";
import { ownOptions } from "./provider-options.ts";

/** One message for each, so that the places which errors name are those of the prompt. */
export function toMessages(prompt: LanguageModelV3Prompt): Message[] {
  return prompt.map((message, index) => toMessage(message, `prompt[${index}]`));
}

function toMessage(message: LanguageModelV3Message, at: string): Message {
  refuseOwnOptions(message.providerOptions, at);
  switch (message.role) {
    case "system":
      return { role: "system", content: message.content };
    case "user":
      return {
        role: "user",
        content: message.content.map((part, index) => toContent(part, `${at}.content[${index}]`)),
      };
    case "assistant":
      return { role: "assistant", content: toAnswer(message.content, at) };
    case "tool":
      throw unsupported("tool results", at);
    default:
      return message satisfies never;
  }
}

function toContent(part: (LanguageModelV3Message & { role: "user" })["content"][number], at: string): Content {
  switch (part.type) {
    case "text":
      refuseOwnOptions(part.providerOptions, at);
      return { type: "text", text: part.text };
    case "file":
      return toMedium(part, at);
    default:
      throw unsupported(`parts of type ${JSON.stringify((part satisfies never as { type: unknown }).type)}`, at);
  }
}

/** The text alone: the authors of the model ask for histories without thinking. */
function toAnswer(content: (LanguageModelV3Message & { role: "assistant" })["content"], at: string): string {
  const texts = content.map((part, index) => {
    refuseOwnOptions(part.providerOptions, `${at}.content[${index}]`);
    if (part.type === "text") return part.text;
    if (part.type === "reasoning") return "";
    throw unsupported(`parts of type ${JSON.stringify(part.type)} in an answer`, `${at}.content[${index}]`);
  });
  return texts.join("");
}

function toMedium({ mediaType, data, providerOptions }: LanguageModelV3FilePart, at: string): Content {
  const source = toSource(data, at);
  const options = ownOptions(providerOptions);
  // "image" alone is what `ai` 7 says of a picture whose type nobody told.
  const [kind] = mediaType.toLowerCase().split("/");
  if (kind === "image") return { type: "image", image: image(source, options) };
  if (kind === "video") return { type: "video", video: video(source, options) };
  if (mediaType.toLowerCase() === "application/pdf") return { type: "pdf", pdf: pdf(source, options) };
  throw unsupported(`files of type ${mediaType}`, at, "Pictures (image/*), videos (video/*) and application/pdf are.");
}

function toSource(data: LanguageModelV3FilePart["data"], at: string): Uint8Array | URL | { base64: string } {
  if (data instanceof Uint8Array) return data;
  if (typeof data === "string") return { base64: data };
  if (!(data instanceof URL)) throw unsupported("files by reference or as text", at);
  // Prompts come from browsers, too: nobody there may have a file of this machine read.
  if (data.protocol === "http:" || data.protocol === "https:") return data;
  throw invalid(`${at}.data`, "bytes, base64, or an http(s) URL", data.href, "Read the file, and pass its bytes.");
}

function refuseOwnOptions(options: SharedV3ProviderOptions | undefined, at: string): void {
  refuseUnknownKeys(ownOptions(options), [], `${at}.providerOptions.glimpse`);
}

function unsupported(what: string, at: string, hint = ""): UnsupportedFunctionalityError {
  const message = `${at}: GLM-4.1V does not take ${what}. ${hint}`.trim();
  return new UnsupportedFunctionalityError({ functionality: what, message });
}
