import { GlimpseError } from "../../protocol/errors.ts";
import { type MediumKind, mediumKinds, tooLarge } from "./kind.ts";

/**
 * Refuses bytes that are too many, or that do not begin as those of a medium of this kind do; `expected` says what would
 * have done, where that is more than this kind.
 */
export function checkFormat(
  kind: MediumKind,
  bytes: Uint8Array,
  label: string,
  expected = mediumKinds[kind].formats,
): void {
  const { maxBytes, unreadable } = mediumKinds[kind];
  if (bytes.byteLength > maxBytes) throw tooLarge(kind, label, bytes.byteLength);
  const head = headOf(bytes);
  const found = formats.find((format) => format.test(head));
  if (found?.kinds?.includes(kind)) return;
  const what = found?.what ?? (head === "" ? "nothing: it is empty" : beginning(head));
  throw new GlimpseError(unreadable, `${label}: expected the bytes of ${expected}, got ${what}`, {
    hint:
      found?.hints?.[kind] ??
      found?.hint ??
      "The type is told by the bytes, not by the name or the content type: check what they are.",
  });
}

/** What these bytes begin as; an animation counts as a picture. Undefined for none of the three. */
export function kindOf(bytes: Uint8Array): MediumKind | undefined {
  const head = headOf(bytes);
  return formats.find((format) => format.test(head))?.kinds?.[0];
}

function headOf(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, Math.min(bytes.byteLength, 1024)).toString("latin1");
}

type Test = (head: string) => boolean;

interface Format {
  what: string;
  test: Test;
  /** As what it can be read. */
  kinds?: readonly MediumKind[];
  /** What to do with it where something else was expected. */
  hint?: string;
  hints?: Partial<Record<MediumKind, string>>;
}

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

const convert = "Convert it to PNG, JPEG or WebP first.";
const recode = "Convert it to MP4 or WebM first.";
const picture = { kinds: ["image"], hint: "Pass it as a picture: images, or image()." } as const;
const video = { kinds: ["video"], hint: "Pass it as a video: video()." } as const;

const formats: readonly Format[] = [
  { what: "a PNG picture", test: begins("\x89PNG\r\n\x1a\n"), ...picture },
  { what: "a JPEG picture", test: begins("\xff\xd8\xff"), ...picture },
  { what: "a WebP picture", test: (head) => head.startsWith("RIFF") && head.startsWith("WEBP", 8), ...picture },
  {
    what: "a GIF",
    test: begins("GIF87a", "GIF89a"),
    kinds: ["image", "video"],
    hint: "Pass it as a picture or a video.",
  },
  { what: "an AVIF picture", test: brand(/avi[fs]/), hint: convert },
  { what: "a HEIC picture", test: brand(/hei[cxms]|hev[cx]|mif1|msf1/), hint: convert },
  { what: "an MP4 or QuickTime video", test: brand(/./s), ...video },
  // QuickTime files from before brands; the first box may be any of these.
  { what: "a QuickTime video", test: matches(/^.{4}(?:moov|mdat|wide|free|skip)/s), ...video },
  { what: "a Matroska or WebM video", test: begins("\x1aE\xdf\xa3"), ...video },
  // Some writers put other bytes first, and readers look for it in the first 1,024.
  { what: "a PDF document", test: (head) => head.includes("%PDF-"), kinds: ["pdf"], hint: "Pass it as pdf()." },
  { what: "an AVI video", test: (head) => head.startsWith("RIFF") && head.startsWith("AVI ", 8), hint: recode },
  { what: "an MPEG video", test: begins("\0\0\x01\xba", "\0\0\x01\xb3"), hint: recode },
  { what: "a Flash video", test: begins("FLV\x01"), hint: recode },
  { what: "a Windows Media file", test: begins("0&\xb2u\x8ef\xcf\x11"), hint: recode },
  { what: "a JPEG XL picture", test: begins("\xff\n", "\0\0\0\fJXL "), hint: convert },
  { what: "a JPEG 2000 picture", test: begins("\xffO\xffQ", "\0\0\0\fjP  "), hint: convert },
  { what: "a TIFF picture", test: begins("II*\0", "MM\0*", "II+\0", "MM\0+"), hint: convert },
  { what: "a BMP picture", test: (head) => head.startsWith("BM") && head.startsWith("\0\0\0\0", 6), hint: convert },
  { what: "an icon (ICO)", test: begins("\0\0\x01\0"), hint: convert },
  { what: "a Photoshop document", test: begins("8BPS"), hint: convert },
  {
    what: "a ZIP archive",
    test: begins("PK\x03\x04"),
    hint: "Unpack it first.",
    hints: { pdf: "Unpack it first; an office document has to be exported as PDF." },
  },
  { what: "gzip data", test: begins("\x1f\x8b"), hint: "Unpack it first." },
  {
    what: "a Git LFS pointer",
    test: begins("version https://git-lfs"),
    hint: "Run git lfs pull to get the file itself.",
  },
  {
    what: "an HTML page",
    test: matches(/^\s*<(?:!doctype html|html|head|body)\b/i),
    hint: "Use the address of the file itself.",
    hints: { image: "Use the address of the picture itself." },
  },
  { what: "an SVG drawing", test: matches(/^\s*<(?:.*<)?svg\b/is), hint: "Render it to PNG first." },
  {
    what: "base64 text",
    test: begins(
      "iVBORw0KGgo",
      "/9j/",
      "UklGR",
      "R0lGOD",
      "JVBERi0",
      "AAAAIGZ0eX",
      "AAAAGGZ0eX",
      "AAAAHGZ0eX",
      "GkXfo",
    ),
    hint: "Decode it, or pass it as { base64 }.",
    hints: {
      image: "Decode it, or pass image({ base64 }).",
      video: "Decode it, or pass video({ base64 }).",
      pdf: "Decode it, or pass pdf({ base64 }).",
    },
  },
];

function beginning(head: string): string {
  const bytes = Buffer.from(head.slice(0, 512), "latin1");
  const text = bytes.toString("utf8").replace(/\ufffd$/, "");
  const readable = !/[^\P{Cc}\s]|\ufffd/u.test(text);
  if (readable) return `text that begins with ${JSON.stringify(text.slice(0, 24))}`;
  return `bytes that begin with ${bytes.subarray(0, 8).toString("hex")}`;
}
