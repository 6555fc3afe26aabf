import { makeBatch } from "../batch/batch.ts";
import type { ImageSource } from "../media/image.ts";
import { isPdf, type PdfRef, pdf, toPdf } from "../media/pdf.ts";
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

/** Reads every page in a request of its own, many at once. Rejects with the error of the first page that fails. */
export async function readPages(client: Client, source: OcrSource, options: OcrOptions): Promise<OcrResult> {
  const read: OcrPage[] = [];
  const pages = await pagesOf(client, source, checked(options));
  for await (const ending of makeBatch(client, pages, ({ shown }) => ocr(shown, options))) {
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

async function pagesOf(client: Client, source: OcrSource, { signal }: OcrOptions): Promise<Page[]> {
  if (isPdf(source)) {
    const chosen = toPdf(source, "pages").pages ?? (await allPages(client, source, signal));
    return chosen.map((page) => ({ page, shown: pdf(source, { pages: [page] }) }));
  }
  const pictures = isList(source) ? source : [source];
  return pictures.map((shown, index) => ({ page: index + 1, shown }));
}

async function allPages(client: Client, source: PdfRef, signal: AbortSignal | undefined): Promise<number[]> {
  // Of one page only: the whole document may be longer than a request can be.
  const first = pdf(source, { pages: [1] });
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
