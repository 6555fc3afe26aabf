import { types } from "node:util";
import { GlimpseError } from "../../protocol/errors.ts";
import { invalid, isRecord } from "../invalid.ts";
import { image, isImage, toImage } from "../media/image.ts";
import { isPdf, pdf, toPdf } from "../media/pdf.ts";
import type { Source } from "../media/source.ts";
import { isVideo, toVideo, type VideoRef, video } from "../media/video.ts";
import type { Content, Message } from "../request/input.ts";

/** Where the bytes of a medium are, as JSON can hold it. */
type SavedSource = { path: string } | { url: string } | { base64: string };

/** A medium that `image()`, `pdf()` or `video()` had named, with the options that it was given. */
export type SavedContent =
  | { type: "image" | "pdf" | "video"; saved: SavedSource; options: object }
  | { type: "video"; frames: readonly SavedSource[]; fps: number; options: object };

/** A message with nothing in it that JSON cannot hold. */
export interface SavedMessage {
  role: Message["role"];
  content: string | readonly (Content | SavedContent)[];
}

/** @throws GlimpseError INVALID_REQUEST for a Blob or a stream. */
export function savedMessage({ role, content }: Message): SavedMessage {
  return { role, content: typeof content === "string" ? content : content.map(savedContent) };
}

function savedContent(content: Content): Content | SavedContent {
  if (content.type === "image" && "image" in content && isImage(content.image)) {
    const { source, cap } = toImage(content.image, "image");
    return { type: "image", saved: savedSource(source), options: { ...cap } };
  }
  if (content.type === "pdf" && "pdf" in content && isPdf(content.pdf)) {
    const { source, pages, dpi, cap } = toPdf(content.pdf, "pdf");
    return { type: "pdf", saved: savedSource(source), options: { pages, dpi, ...cap } };
  }
  if (content.type === "video" && "video" in content && isVideo(content.video)) return savedVideo(content.video);
  return content;
}

function savedVideo(ref: VideoRef): SavedContent {
  const medium = toVideo(ref, "video");
  if (medium.kind === "video") {
    const { frames, fps, cap } = medium;
    return { type: "video", frames: frames.map(savedSource), fps, options: { ...cap } };
  }
  const { source, fps, maxFrames, cap } = medium;
  return { type: "video", saved: savedSource(source), options: { fps, maxFrames, ...cap } };
}

function savedSource(source: Source): SavedSource {
  switch (source.kind) {
    case "file":
      return { path: source.path };
    case "url":
      return { url: source.url };
    case "data-url":
      return { url: source.text };
    case "base64":
      return { base64: source.text };
    case "bytes":
      return { base64: toBuffer(source.data).toString("base64") };
    case "blob":
      throw unwritable("a Blob", "Pass its bytes: new Uint8Array(await blob.arrayBuffer()).");
    case "stream":
      throw unwritable("a stream", "Read it, and pass its bytes.");
  }
}

function toBuffer(data: Uint8Array | ArrayBufferLike): Buffer {
  return types.isUint8Array(data) ? Buffer.from(data.buffer, data.byteOffset, data.byteLength) : Buffer.from(data);
}

function unwritable(what: string, hint: string): GlimpseError {
  return new GlimpseError("INVALID_REQUEST", `chat: expected what JSON can hold, got ${what}`, { hint });
}

export function isSaved(content: Content | SavedContent): content is SavedContent {
  return isRecord(content) && ("saved" in content || "frames" in content);
}

/** @throws GlimpseError INVALID_REQUEST when it is not what `savedMessage` wrote. */
export function restored(content: SavedContent): Content {
  if ("frames" in content) {
    const { frames, fps, options } = content;
    if (!Array.isArray(frames)) throw notSaved("frames", "an array of sources", frames);
    return { type: "video", video: video({ frames: frames.map((frame) => image(sourceOf(frame))), fps }, options) };
  }
  const source = sourceOf(content.saved);
  switch (content.type) {
    case "image":
      return { type: "image", image: image(source, content.options) };
    case "pdf":
      return { type: "pdf", pdf: pdf(source, content.options) };
    case "video":
      return { type: "video", video: video(source, content.options) };
    default:
      return content satisfies never;
  }
}

function sourceOf(saved: unknown): string | { base64: string } {
  const { path, url, base64 } = isRecord(saved) ? saved : {};
  if (typeof base64 === "string") return { base64 };
  if (typeof path === "string") return path;
  if (typeof url === "string") return url;
  throw notSaved("saved", "{ path }, { url } or { base64 }", saved);
}

function notSaved(what: string, expected: string, got: unknown): GlimpseError {
  return invalid(`chat(): messages: ${what}`, `${expected}, as chat.toJSON() gives it`, got);
}
