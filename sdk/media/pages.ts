import { invalid } from "../invalid.ts";
import { isWhole } from "./cap.ts";

/** What the model takes in one request. */
export const MAX_PICTURES = 300;

const EXPECTED = 'pages counted from 1, as in "1-3,7" or [1, 2, 3, 7]';

/** @throws GlimpseError INVALID_REQUEST */
export function readPages(pages: unknown, at: string): readonly number[] {
  const read = typeof pages === "string" ? fromText(pages, at) : pages;
  if (!Array.isArray(read) || read.length === 0) throw invalid(at, EXPECTED, pages);
  for (const page of read) if (!isWhole(page) || page < 1) throw invalid(at, EXPECTED, page);
  if (read.length > MAX_PICTURES) throw tooMany(at, read.length);
  return Object.freeze([...read]);
}

function fromText(text: string, at: string): number[] {
  const pages: number[] = [];
  for (const range of text.split(",")) {
    const [, start, end] = /^\s*(\d{1,6})(?:\s*[-–]\s*(\d{1,6}))?\s*$/.exec(range) ?? [];
    const [first, last] = [Number(start), Number(end ?? start)];
    if (start === undefined || first < 1 || last < first) throw invalid(at, EXPECTED, text);
    if (pages.length + last - first >= MAX_PICTURES) throw tooMany(at, pages.length + last - first + 1);
    for (let page = first; page <= last; page += 1) pages.push(page);
  }
  return pages;
}

function tooMany(at: string, count: number): Error {
  return invalid(at, `at most ${MAX_PICTURES} pages`, count, "Ask about the others in further requests.");
}
