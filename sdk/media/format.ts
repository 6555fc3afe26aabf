import { MAX_MEDIA_BYTES } from "../../protocol/codec.ts";
import { GlimpseError } from "../../protocol/errors.ts";
import { formatBytes } from "./bytes.ts";

/** Refuses bytes that are too many, or that do not begin as a PNG, JPEG, WebP or GIF does. */
export function checkPicture(bytes: Uint8Array, label: string): void {
  if (bytes.byteLength > MAX_MEDIA_BYTES) throw tooLarge(label, bytes.byteLength);
  const head = Buffer.from(bytes.buffer, bytes.byteOffset, Math.min(bytes.byteLength, 512)).toString("latin1");
  if (formats.some((test) => test(head))) return;
  const found = strangers.find(([, test]) => test(head));
  const what = found?.[0] ?? (head === "" ? "nothing: it is empty" : beginning(head));
  throw new GlimpseError("IMAGE_UNREADABLE", `${label}: expected the bytes of a PNG, JPEG, WebP or GIF, got ${what}`, {
    hint: found?.[2] ?? "The type is told by the bytes, not by the name or the content type: check what they are.",
  });
}

/** `size` is undefined when reading stopped at the limit. */
export function tooLarge(label: string, size: number | undefined): GlimpseError {
  const got = size === undefined ? "more" : formatBytes(size);
  return new GlimpseError(
    "IMAGE_TOO_LARGE",
    `${label}: expected at most ${formatBytes(MAX_MEDIA_BYTES)} of encoded picture, got ${got}`,
    { hint: "Scale the picture down, or save it as JPEG or WebP." },
  );
}

type Test = (head: string) => boolean;

// Bytes are compared as Latin-1 characters: one byte, one character.
const begins =
  (...starts: readonly string[]): Test =>
  (head) =>
    starts.some((start) => head.startsWith(start));
/** The ISO base media file format: the brand tells what is inside. */
const brand =
  (pattern: RegExp): Test =>
  (head) =>
    head.startsWith("ftyp", 4) && pattern.test(head.slice(8, 12));
const matches =
  (pattern: RegExp): Test =>
  (head) =>
    pattern.test(head.replace(/^\xef\xbb\xbf/, ""));

const formats: readonly Test[] = [
  begins("\x89PNG\r\n\x1a\n"),
  begins("\xff\xd8\xff"),
  (head) => head.startsWith("RIFF") && head.startsWith("WEBP", 8),
  begins("GIF87a", "GIF89a"),
];

const convert = "Convert it to PNG, JPEG or WebP first.";
const frames = "Extract frames and pass video({ frames, fps }).";
const strangers: readonly (readonly [what: string, test: Test, hint: string])[] = [
  ["an AVIF picture", brand(/avi[fs]/), convert],
  ["a HEIC picture", brand(/hei[cxms]|hev[cx]|mif1|msf1/), convert],
  ["an MP4 or QuickTime video", brand(/./), frames],
  ["a Matroska or WebM video", begins("\x1aE\xdf\xa3"), frames],
  ["a JPEG XL picture", begins("\xff\n", "\0\0\0\fJXL "), convert],
  ["a JPEG 2000 picture", begins("\xffO\xffQ", "\0\0\0\fjP  "), convert],
  ["a TIFF picture", begins("II*\0", "MM\0*", "II+\0", "MM\0+"), convert],
  ["a BMP picture", (head) => head.startsWith("BM") && head.startsWith("\0\0\0\0", 6), convert],
  ["an icon (ICO)", begins("\0\0\x01\0"), convert],
  ["a Photoshop document", begins("8BPS"), convert],
  ["a PDF document", begins("%PDF-"), "Render its pages to pictures first."],
  ["a ZIP archive", begins("PK\x03\x04"), "Unpack it first."],
  ["gzip data", begins("\x1f\x8b"), "Unpack it first."],
  ["a Git LFS pointer", begins("version https://git-lfs"), "Run git lfs pull to get the file itself."],
  ["an HTML page", matches(/^\s*<(?:!doctype html|html|head|body)\b/i), "Use the address of the picture itself."],
  ["an SVG drawing", matches(/^\s*<(?:.*<)?svg\b/is), "Render it to PNG first."],
  ["base64 text", begins("iVBORw0KGgo", "/9j/", "UklGR", "R0lGOD"), "Decode it, or pass image({ base64 })."],
];

function beginning(head: string): string {
  const bytes = Buffer.from(head, "latin1");
  const text = bytes.toString("utf8").replace(/\ufffd$/, "");
  const readable = !/[^\P{Cc}\s]|\ufffd/u.test(text);
  if (readable) return `text that begins with ${JSON.stringify(text.slice(0, 24))}`;
  return `bytes that begin with ${bytes.subarray(0, 8).toString("hex")}`;
}
