import { types } from "node:util";
import { GlimpseError } from "../../protocol/errors.ts";
import { invalid } from "../invalid.ts";
import { type ImageMedium, type ImageSource, image, isImage, toImage } from "../media/image.ts";
import type { PdfSource } from "../media/pdf.ts";
import type { VideoSource } from "../media/video.ts";
import type { Content, ImageContent, Message } from "../request/input.ts";

export interface TurnMedia {
  images?: readonly ImageSource[] | undefined;
  pdf?: PdfSource | undefined;
  video?: VideoSource | undefined;
}

/** A turn of the user, as it is kept: whatever its caller does with the bytes and lists later changes nothing. */
export function userTurn(prompt: string | readonly Content[], { images = [], pdf, video }: TurnMedia): Message {
  if (!Array.isArray(images)) throw invalid("images", "an array of pictures", images);
  const pictures: Content[] = images.map((source) => ({ type: "image", image: kept(source) }));
  const pages: Content[] = pdf === undefined ? [] : [{ type: "pdf", pdf }];
  const film: Content[] = video === undefined ? [] : [{ type: "video", video }];
  const said: readonly Content[] = isContent(prompt) ? prompt : [{ type: "text", text: prompt }];
  return keptMessage({ role: "user", content: [...pictures, ...pages, ...film, ...said] });
}

function isContent(prompt: string | readonly Content[]): prompt is readonly Content[] {
  return Array.isArray(prompt);
}

export function keptMessage(message: Message): Message {
  const { role, content } = message;
  return Object.freeze({ role, content: Array.isArray(content) ? Object.freeze(content.map(keptContent)) : content });
}

function keptContent(content: Content): Content {
  if (content?.type !== "image" || !("image" in content)) return { ...content };
  return { type: "image", image: kept(content.image) };
}

/** What is no picture is left as it is: the request refuses it, and names its place. */
function kept(source: ImageSource): ImageSource {
  try {
    return image(source);
  } catch {
    return source;
  }
}

/** The message with nothing in it that JSON cannot hold. @throws GlimpseError INVALID_REQUEST for a Blob or a video. */
export function plainMessage({ role, content }: Message): Message {
  return { role, content: typeof content === "string" ? content : content.map(plainContent) };
}

function plainContent(content: Content): Content {
  switch (content.type) {
    case "text":
      return content;
    case "video":
      throw unwritable("a video", "Ask about it in a chat that is not kept.");
    case "pdf":
      throw unwritable("a PDF", "Ask about it in a chat that is not kept.");
    case "image":
      return "image" in content && isImage(content.image) ? plainImage(toImage(content.image, "image")) : content;
    default:
      return content satisfies never;
  }
}

function plainImage({ source, cap }: ImageMedium): ImageContent {
  if (cap !== undefined) throw unwritable("a picture with a cap of pixels", "Give it without one.");
  switch (source.kind) {
    case "file":
      return { type: "image", path: source.path };
    case "url":
      return { type: "image", url: source.url };
    case "data-url":
      return { type: "image", url: source.text };
    case "base64":
      return { type: "image", base64: source.text };
    case "bytes":
      return { type: "image", base64: toBuffer(source.data).toString("base64") };
    case "blob":
      throw unwritable("a Blob", "Pass its bytes: new Uint8Array(await blob.arrayBuffer()).");
    case "stream":
      throw unwritable("a stream", "Pass its bytes.");
    default:
      return source satisfies never;
  }
}

function toBuffer(data: Uint8Array | ArrayBufferLike): Buffer {
  return types.isUint8Array(data) ? Buffer.from(data.buffer, data.byteOffset, data.byteLength) : Buffer.from(data);
}

function unwritable(what: string, hint: string): GlimpseError {
  return new GlimpseError("INVALID_REQUEST", `chat: expected what JSON can hold, got ${what}`, { hint });
}
