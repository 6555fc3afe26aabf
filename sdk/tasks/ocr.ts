import { makeBatch } from "../batch/batch.ts";
import type { TokenCount } from "../count.ts";
import type { ImageSource } from "../media/image.ts";
import { isPdf, type PdfRef, pdf, toPdf } from "../media/pdf.ts";
import type { GenerateInput } from "../request/input.ts";
import type { GenerateResult } from "../result.ts";
import type { Client } from "../stream.ts";
import { type OcrOptions, ocr } from "./inputs.ts";

export interface OcrPage {
  /** Counted from 1; of a PDF the number of its page. */
  page: number;
  text: string;
  result: GenerateResult;
}

export interface OcrResult {
  /** The text of all pages, an empty line between two. */
  text: string;
  pages: readonly OcrPage[];
}

export type OcrSource = ImageSource | PdfRef | readonly ImageSource[];

interface Page {
  number: number;
  picture: ImageSource | PdfRef;
}

/** What reading pages needs of a client. */
export interface OcrClient extends Client {
  count(input: GenerateInput): Promise<TokenCount>;
}

/** Reads every page in a request of its own, many at once. Rejects with the error of the first page that fails. */
export async function readPages(client: OcrClient, source: OcrSource, options: OcrOptions): Promise<OcrResult> {
  const read: OcrPage[] = [];
  const { signal } = options;
  const pages = await pagesOf(client, source, signal);
  for await (const ending of makeBatch(client, pages, ({ picture }) => ocr(picture, options), { signal })) {
    if (!ending.ok) throw ending.error;
    const { item, result } = ending;
    read.push({ page: item.number, text: unfenced(result.text), result });
  }
  return { text: read.map(({ text }) => text).join("\n\n"), pages: read };
}

async function pagesOf(client: OcrClient, source: OcrSource, signal: AbortSignal | undefined): Promise<Page[]> {
  if (!isPdf(source)) {
    const pictures = isList(source) ? source : [source];
    return pictures.map((picture, index) => ({ number: index + 1, picture }));
  }
  const numbers = toPdf(source, "ocr()").pages ?? (await allPages(client, source, signal));
  return numbers.map((number) => ({ number, picture: pdf(source, { pages: [number] }) }));
}

async function allPages(client: OcrClient, source: PdfRef, signal: AbortSignal | undefined): Promise<number[]> {
  // One page is enough to hear of how many there are.
  const { media } = await client.count({ prompt: "", pdf: pdf(source, { pages: [1] }), signal });
  const pages = media[0]?.kind === "pdf" ? media[0].pages : 0;
  return Array.from({ length: pages }, (_, index) => index + 1);
}

function isList(source: ImageSource | readonly ImageSource[]): source is readonly ImageSource[] {
  return Array.isArray(source);
}

/** Without the fence that models like to put around a whole answer. */
function unfenced(text: string): string {
  return /^```(?:markdown|md)?\n([\s\S]*?)\n?```$/.exec(text)?.[1] ?? text;
}
