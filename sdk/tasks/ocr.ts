import { makeBatch } from "../batch/batch.ts";
import type { ImageSource } from "../media/image.ts";
import type { GenerateResult } from "../result.ts";
import type { Client } from "../stream.ts";
import { type OcrOptions, ocr } from "./inputs.ts";

export interface OcrPage {
  /** Counted from 1. */
  page: number;
  text: string;
  result: GenerateResult;
}

export interface OcrResult {
  /** The text of all pages, an empty line between two. */
  text: string;
  pages: readonly OcrPage[];
}

/** Reads every page in a request of its own, many at once. Rejects with the error of the first page that fails. */
export async function readPages(
  client: Client,
  pages: ImageSource | readonly ImageSource[],
  options: OcrOptions,
): Promise<OcrResult> {
  const read: OcrPage[] = [];
  const { signal } = options;
  const list = isList(pages) ? pages : [pages];
  for await (const ending of makeBatch(client, list, (page) => ocr(page, options), { signal })) {
    if (!ending.ok) throw ending.error;
    const { index, result } = ending;
    read.push({ page: index + 1, text: unfenced(result.text), result });
  }
  return { text: read.map(({ text }) => text).join("\n\n"), pages: read };
}

function isList(pages: ImageSource | readonly ImageSource[]): pages is readonly ImageSource[] {
  return Array.isArray(pages);
}

/** Without the fence that models like to put around a whole answer. */
function unfenced(text: string): string {
  return /^```(?:markdown|md)?\n([\s\S]*?)\n?```$/.exec(text)?.[1] ?? text;
}
