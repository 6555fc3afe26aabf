import { MAX_MEDIA_BYTES } from "../../protocol/codec.ts";
import { GlimpseError } from "../../protocol/errors.ts";
import { formatBytes } from "./source.ts";

/** Refuses bytes that are too many, or that do not begin as a PNG, JPEG, WebP or GIF does. */
export function checkPicture(bytes: Uint8Array, label: string): void {
  if (bytes.byteLength > MAX_MEDIA_BYTES) throw tooLarge(label, bytes.byteLength);
  const head = Buffer.from(bytes.buffer, bytes.byteOffset, Math.min(bytes.byteLength, 512)).toString("latin1");
  if (formats.some((format) => format.test(head))) return;
  const found = strangers.find(([, pattern]) => pattern.test(head));
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

// The patterns read bytes as Latin-1 characters: one byte, one character.
const formats = [/^\x89PNG\r\n\x1a\n/, /^\xff\xd8\xff/, /^RIFF[^]{4}WEBP/, /^GIF8[79]a/];

const convert = "Convert it to PNG, JPEG or WebP first.";
const strangers: readonly (readonly [what: string, pattern: RegExp, hint: string])[] = [
  ["an AVIF picture", /^[^]{4}ftypavi[fs]/, convert],
  ["a HEIC picture", /^[^]{4}ftyp(?:hei[cxms]|hev[cx]|mif1|msf1)/, convert],
  ["an MP4 or QuickTime video", /^[^]{4}ftyp/, "Extract frames and pass video({ frames, fps })."],
  ["a Matroska or WebM video", /^\x1aE\xdf\xa3/, "Extract frames and pass video({ frames, fps })."],
  ["a JPEG XL picture", /^(?:\xff\n|\0\0\0\x0cJXL )/, convert],
  ["a JPEG 2000 picture", /^(?:\xffO\xffQ|\0\0\0\x0cjP {2})/, convert],
  ["a TIFF picture", /^(?:II\*\0|MM\0\*|II\+\0|MM\0\+)/, convert],
  ["a BMP picture", /^BM[^]{4}\0\0\0\0/, convert],
  ["an icon (ICO)", /^\0\0\x01\0/, convert],
  ["a Photoshop document", /^8BPS/, convert],
  ["a PDF document", /^%PDF-/, "Render its pages to pictures first."],
  ["a ZIP archive", /^PK\x03\x04/, "Unpack it first."],
  ["gzip data", /^\x1f\x8b/, "Unpack it first."],
  ["a Git LFS pointer", /^version https:\/\/git-lfs/, "Run git lfs pull to get the file itself."],
  [
    "an SVG drawing",
    /^(?:\xef\xbb\xbf)?\s*(?:<\?xml[^]*?)?(?:<!--[^]*?-->\s*)?<(?:!doctype )?svg\b/i,
    "Render it to PNG first.",
  ],
  [
    "an HTML page",
    /^(?:\xef\xbb\xbf)?\s*<(?:!doctype html|html|head|body)\b/i,
    "Use the address of the picture itself.",
  ],
  ["base64 text", /^(?:iVBORw0KGgo|\/9j\/|UklGR|R0lGOD)/, "Decode it, or pass image({ base64 })."],
];

function beginning(head: string): string {
  const bytes = Buffer.from(head, "latin1");
  const text = bytes.toString("utf8").replace(/\ufffd$/, "");
  if (!/[\0-\x08\x0e-\x1f\ufffd]/.test(text)) return `text that begins with ${JSON.stringify(text.slice(0, 24))}`;
  return `bytes that begin with ${bytes.subarray(0, 8).toString("hex")}`;
}
