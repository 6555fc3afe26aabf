import { followSignal, requestAborted } from "../abort.ts";
import { makeBatch } from "../batch/batch.ts";
import { fetchLimits } from "../media/fetch.ts";
import type { ImageSource } from "../media/image.ts";
import { isPdf, type PdfRef, pdf, pdfRef, toPdf } from "../media/pdf.ts";
import { readMedium } from "../media/read.ts";
import { sourceLabel } from "../media/source.ts";
import type { GenerateResult } from "../result.ts";
import type { Client } from "../stream.ts";
import { ocr } from "./inputs.ts";
import { checked, type OcrOptions } from "./options.ts";

export interface OcrPage {
  /** Counted from 1: of a PDF the number that the page has there, else the place of the picture. */
  page: number;
  text: string;
  result: GenerateResult;
}

export interface OcrResult {
  /** The text of all pages, an empty line between two. */
  text: string;
  pages: readonly OcrPage[];
}

/** Pictures of pages, or the pages of a PDF. */
export type OcrSource = ImageSource | PdfRef | readonly ImageSource[];

export interface OcrContext {
  client: Client;
  /** The private hosts that a document's URL may lead to. */
  allowHosts: ReadonlySet<string>;
}

/** Reads every page in a request of its own, many at once. Rejects with the error of the first page that fails. */
export async function readPages(context: OcrContext, source: OcrSource, options: OcrOptions): Promise<OcrResult> {
  const read: OcrPage[] = [];
  const pages = await pagesOf(context, source, checked(options, "format"));
  for await (const ending of makeBatch(context.client, pages, ({ shown }) => ocr(shown, options))) {
    if (!ending.ok) throw ending.error;
    const { item, result } = ending;
    read.push({ page: item.page, text: unfenced(result.text), result });
  }
  return { text: read.map(({ text }) => text).join("\n\n"), pages: read };
}

interface Page {
  page: number;
  shown: ImageSource | PdfRef;
}

async function pagesOf(context: OcrContext, source: OcrSource, { signal }: OcrOptions): Promise<Page[]> {
  if (isPdf(source)) {
    const document = await withBytes(source, context.allowHosts, signal);
    const chosen = toPdf(document, "pages").pages ?? (await allPages(context.client, document, signal));
    return chosen.map((page) => ({ page, shown: pdf(document, { pages: [page] }) }));
  }
  const pictures = isList(source) ? source : [source];
  return pictures.map((shown, index) => ({ page: index + 1, shown }));
}

/** The document as bytes: they are read or fetched once, and all pages share them. */
async function withBytes(
  document: PdfRef,
  allowHosts: ReadonlySet<string>,
  signal: AbortSignal | undefined,
): Promise<PdfRef> {
  const medium = toPdf(document, "pages");
  const name = sourceLabel(medium.source, "pages");
  // Anything else than a signal is refused with the other options.
  const { controller, release } = followSignal(signal instanceof AbortSignal ? signal : undefined, requestAborted);
  try {
    const context = { allowHosts, limits: fetchLimits, signal: controller.signal };
    const data = await readMedium("pdf", medium.source, name, context);
    return pdfRef({ ...medium, source: { kind: "bytes", data, owned: true, name } });
  } finally {
    release();
  }
}

async function allPages(client: Client, document: PdfRef, signal: AbortSignal | undefined): Promise<number[]> {
  // Of one page only: the whole document may be longer than a request can be.
  const first = pdf(document, { pages: [1] });
  const { media } = await client.count({ prompt: "?", pdf: first, signal });
  const [counted] = media;
  const pages = counted?.kind === "pdf" ? counted.pages : 0;
  return Array.from({ length: pages }, (_, index) => index + 1);
}

function isList(source: ImageSource | readonly ImageSource[]): source is readonly ImageSource[] {
  return Array.isArray(source);
}

/** Without the fence that models like to put around a whole answer. */
function unfenced(text: string): string {
  return /^```(?:markdown|md)?\n([\s\S]*?)\n?```$/.exec(text)?.[1] ?? text;
}
