import { GlimpseError } from "../../protocol/errors.ts";
import type { GenerateMessage, WireContent } from "../../protocol/messages.ts";
import { describe, invalid, isRecord, refuseUnknownKeys } from "../invalid.ts";
import { type ImageMedium, imageOf, toImage } from "../media/image.ts";
import { MAX_PICTURES } from "../media/pages.ts";
import { type PdfMedium, pdfOf, toPdf } from "../media/pdf.ts";
import { fromBase64, fromPath } from "../media/source.ts";
import { toVideo, type VideoMedium, videoOf } from "../media/video.ts";

/** A picture, video or PDF of the request; `at` is its place in the input. */
export type Medium = { at: string } & (ImageMedium | VideoMedium | PdfMedium);

type WireMessage = GenerateMessage["messages"][number];

export interface Conversation {
  messages: WireMessage[];
  /** In the order in which the messages name them. */
  media: Medium[];
}

/** Reads both forms of input, and refuses what no model could answer. Nothing is read from disk or network. */
export function readConversation(input: Record<string, unknown>): Conversation {
  const media: Medium[] = [];
  const messages = input["messages"] === undefined ? readPrompt(input, media) : readMessages(input, media);
  checkMedia(media);
  return { messages, media };
}

function readPrompt(input: Record<string, unknown>, media: Medium[]): WireMessage[] {
  const { prompt, system } = input;
  if (prompt === undefined) throw invalid("input", "messages or prompt", undefined);
  const shown = readMediaOptions(input, media);
  const turn: WireMessage = { role: "user", content: [...shown, { type: "text", text: filledText(prompt, "prompt") }] };
  if (system === undefined) return [turn];
  return [{ role: "system", content: [{ type: "text", text: filledText(system, "system") }] }, turn];
}

/** What is shown with a prompt: `images`, `pdf` and `video` of `input`, which are appended to `media`. */
export function readMediaOptions(input: Record<string, unknown>, media: Medium[]): WireContent[] {
  const { images = [], pdf, video } = input;
  if (!Array.isArray(images)) throw invalid("images", "an array of pictures", images);
  const content = images.map((image, index) => {
    const at = `images[${index}]`;
    return place(media, { at, ...toImage(image, at) });
  });
  if (pdf !== undefined) content.push(place(media, { at: "pdf", ...toPdf(pdf, "pdf") }));
  if (video !== undefined) content.push(place(media, { at: "video", ...toVideo(video, "video") }));
  return content;
}

function readMessages(input: Record<string, unknown>, media: Medium[]): WireMessage[] {
  const extra = ["prompt", "images", "pdf", "video", "system"].find((name) => input[name] !== undefined);
  if (extra !== undefined) {
    throw new GlimpseError("INVALID_REQUEST", `input: expected messages or prompt, got messages and ${extra}`, {
      hint: `Move ${extra} into the messages, or use prompt alone.`,
    });
  }
  const { messages } = input;
  if (!Array.isArray(messages) || messages.length === 0) throw invalid("messages", "an array of messages", messages);
  const turns = messages.map((message: unknown, index) => readMessage(message, `messages[${index}]`, media));
  const last = turns.at(-1)?.role;
  if (last !== "user") throw invalid(`messages[${turns.length - 1}].role`, '"user" in the last message', last);
  return turns;
}

/** Appends the message's media to `media`. */
export function readMessage(message: unknown, at: string, media: Medium[]): WireMessage {
  if (!isRecord(message)) throw invalid(at, "{ role, content }", message);
  refuseUnknownKeys(message, ["role", "content"], at);
  const { role, content } = message;
  if (role !== "system" && role !== "user" && role !== "assistant") {
    throw invalid(`${at}.role`, '"system", "user" or "assistant"', role, otherClients.get(role));
  }
  return { role, content: readContent(content, `${at}.content`, role, media) };
}

/** What a message says: a text, or an array of texts and media, which are appended to `media`. */
export function readContent(content: unknown, at: string, role: WireMessage["role"], media: Medium[]): WireContent[] {
  if (typeof content === "string") {
    // An answer may have been empty, when all tokens went into the thinking; history must be able to hold it.
    const text = role === "assistant" ? content : filledText(content, at);
    return [{ type: "text", text }];
  }
  if (!Array.isArray(content) || content.length === 0) throw invalid(at, "a text or an array", content);
  const items = content.map((item: unknown, index) => readItem(item, `${at}[${index}]`, role, media));
  const filled = items.some((item) => item.type === "media" || item.text.trim() !== "");
  if (!filled && role !== "assistant") throw invalid(at, "a text that is not empty", "");
  return items;
}

/** What OpenAI's formats, and those that follow them, call a role and the parts of a message. */
const otherClients = new Map<unknown, string>([
  ["image_url", 'Write { type: "image", url }.'],
  ["input_image", 'Write { type: "image", url }.'],
  ["video_url", 'Write { type: "video", url }.'],
  ["input_text", 'Write { type: "text", text }.'],
  ["output_text", 'Write { type: "text", text }.'],
  ["developer", 'Write role: "system".'],
]);

function readItem(item: unknown, at: string, role: WireMessage["role"], media: Medium[]): WireContent {
  if (!isRecord(item)) throw invalid(at, '{ type: "text" | "image" | "pdf" | "video", … }', item);
  const { type } = item;
  if (role !== "user" && (type === "image" || type === "pdf" || type === "video")) {
    throw invalid(`${at}.type`, `"text" in a message of the ${role}`, type, "Put it into a message of the user.");
  }
  switch (type) {
    case "text":
      refuseUnknownKeys(item, ["type", "text"], at);
      return { type: "text", text: anyText(item["text"], `${at}.text`) };
    case "image":
    case "pdf":
    case "video":
      return place(media, { at, ...readMedium(item, type, at) });
    default:
      throw invalid(`${at}.type`, '"text", "image", "pdf" or "video"', type, otherClients.get(type));
  }
}

const readers = {
  image: { to: toImage, of: imageOf },
  pdf: { to: toPdf, of: pdfOf },
  video: { to: toVideo, of: videoOf },
};

/** The medium that the one field of `item` names which says where its bytes are; one of them has the name of `type`. */
function readMedium(
  item: Record<string, unknown>,
  type: "image" | "pdf" | "video",
  at: string,
): ImageMedium | PdfMedium | VideoMedium {
  const fields = ["url", type, "path", "base64"];
  refuseUnknownKeys(item, ["type", ...fields], at);
  const given = fields.filter((name) => item[name] !== undefined);
  const name = given[0];
  if (name === undefined || given.length > 1) {
    const got = given.length === 0 ? "none of them" : given.join(" and ");
    throw new GlimpseError("INVALID_REQUEST", `${at}: expected one of ${fields.join(", ")}, got ${got}`);
  }
  const { to, of } = readers[type];
  const value = item[name];
  const field = `${at}.${name}`;
  if (name === "base64") return of(fromBase64(value, field));
  if (name === "path") return of(fromPath(value, field));
  if (name === "url" && typeof value !== "string" && !(value instanceof URL)) throw invalid(field, "a URL", value);
  return to(value, field);
}

function place(media: Medium[], medium: Medium): WireContent {
  return { type: "media", index: media.push(medium) - 1 };
}

function anyText(value: unknown, at: string): string {
  if (typeof value !== "string") throw invalid(at, "a text", value);
  return value;
}

function filledText(value: unknown, at: string): string {
  const text = anyText(value, at);
  if (text.trim() === "") throw invalid(at, "a text that is not empty", value);
  return text;
}

function checkMedia(media: readonly Medium[]): void {
  const videos = media.filter(({ kind }) => kind === "video" || kind === "videoFile").length;
  const documents = media.filter(({ kind }) => kind === "pdf").length;
  const pictures = media.length - videos - documents;
  if (videos > 0 && pictures + documents > 0) {
    const others = pictures === 0 ? "a PDF" : documents === 0 ? "pictures" : "pictures and a PDF";
    throw new GlimpseError(
      "MEDIA_MIX_UNSUPPORTED",
      `input: expected pictures and PDFs, or one video, got a video and ${others}`,
      { hint: "Ask about them in separate requests, or pass some frames of the video as pictures." },
    );
  }
  if (videos > 1) throw tooMany("one video", videos);
  // A PDF has one page at least; the worker knows how many.
  const shown = media.reduce((sum, medium) => sum + (medium.kind === "pdf" ? (medium.pages?.length ?? 1) : 1), 0);
  if (shown > MAX_PICTURES)
    throw tooMany(`at most ${MAX_PICTURES} ${documents > 0 ? "pictures and pages" : "pictures"}`, shown);
}

function tooMany(expected: string, got: number): GlimpseError {
  return new GlimpseError("INVALID_REQUEST", `input: expected ${expected}, got ${describe(got)}`, {
    hint: "Ask about them in separate requests.",
  });
}
