import type { PixelCap } from "../../protocol/messages.ts";
import { invalid, isRecord, refuseUnknownKeys } from "../invalid.ts";
import { type CapOptions, capNames, readCap } from "./cap.ts";
import { readPages } from "./pages.ts";
import { type MediaSource, type Source, snapshot, toNamedSource, toSource } from "./source.ts";

const pdfKey: unique symbol = Symbol.for("glimpse.pdf");

/** A PDF that `pdf()` has named: frozen, may be used in any number of requests. */
export interface PdfRef {
  readonly [pdfKey]: PdfMedium;
}

export interface PdfMedium {
  readonly kind: "pdf";
  readonly source: Source;
  /** Counted from 1; undefined: all. */
  readonly pages: readonly number[] | undefined;
  readonly dpi: number;
  readonly cap: PixelCap | undefined;
}

/** A PDF, as a source of its bytes or as what `pdf()` returned: not encrypted, at most 256 MiB. */
export type PdfSource = MediaSource | PdfRef;

export interface PdfOptions extends CapOptions {
  /** Which pages, counted from 1, in this order: `"1-3,7"` or `[1, 2, 3, 7]`. Default: all, of which there may be 300. */
  pages?: string | readonly number[] | undefined;
  /**
   * How finely pages are drawn, in pixels an inch: 18 to 600. Default 144, two pixels for each of a PDF's points, at which
   * the small print of a page of letters or A4 is legible and such a page costs about 2,500 tokens.
   */
  dpi?: number | undefined;
}

export const DEFAULT_DPI = 144;
const [MIN_DPI, MAX_DPI] = [18, 600];

/**
 * Names a PDF; each of its pages becomes a picture. Nothing is read yet.
 * @throws GlimpseError INVALID_REQUEST when `source` is nothing that can be a PDF, or an option is wrong.
 */
export function pdf(source: PdfSource | { base64: string }, options: PdfOptions = {}): PdfRef {
  if (!isRecord(options)) throw invalid("pdf", "options as an object", options);
  refuseUnknownKeys(options, ["pages", "dpi", ...capNames], "pdf");
  const named = isPdf(source) ? source[pdfKey] : pdfOf(toNamedSource(source, "source"));
  const { dpi = named.dpi, pages } = options;
  if (typeof dpi !== "number" || !(dpi >= MIN_DPI && dpi <= MAX_DPI)) {
    throw invalid("pdf.dpi", `a number from ${MIN_DPI} to ${MAX_DPI}`, dpi);
  }
  const chosen = pages === undefined ? named.pages : readPages(pages, "pdf.pages");
  const cap = readCap(options, "pdf") ?? named.cap;
  return pdfRef({ kind: "pdf", source: Object.freeze(snapshot(named.source)), pages: chosen, dpi, cap });
}

export function pdfRef(medium: PdfMedium): PdfRef {
  return Object.freeze({ [pdfKey]: Object.freeze(medium) });
}

export function isPdf(value: unknown): value is PdfRef {
  return isRecord(value) && pdfKey in value;
}

/** `at` names the input in an error. */
export function toPdf(value: unknown, at: string): PdfMedium {
  return isPdf(value) ? value[pdfKey] : pdfOf(toSource(value, at, ", or what pdf() returned"));
}

export function pdfOf(source: Source): PdfMedium {
  return { kind: "pdf", source, pages: undefined, dpi: DEFAULT_DPI, cap: undefined };
}
