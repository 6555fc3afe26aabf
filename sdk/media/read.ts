import { types } from "node:util";
import { orAborted } from "../abort.ts";
import { decodeBase64, decodeDataUrl } from "./data-url.ts";
import { type FetchLimits, fetchBytes } from "./fetch.ts";
import { readMediumFile } from "./file.ts";
import { checkFormat } from "./format.ts";
import { type MediumKind, mediumKinds, tooLarge, unreadable } from "./kind.ts";
import type { Source } from "./source.ts";
import { readStream } from "./stream-bytes.ts";

export interface ReadContext {
  allowHosts: ReadonlySet<string>;
  limits: FetchLimits;
  signal: AbortSignal;
}

/** The one place where the bytes of media enter: at most so many, and by their beginning those of `kind`. */
export async function readMedium(
  kind: MediumKind,
  source: Source,
  label: string,
  context: ReadContext,
): Promise<Uint8Array> {
  const bytes = await readBytes(kind, source, label, context);
  checkFormat(kind, bytes, label);
  return bytes;
}

/** `kind` says how many they may be. */
export async function readBytes(
  kind: MediumKind,
  source: Source,
  label: string,
  context: ReadContext,
): Promise<Uint8Array> {
  const { signal } = context;
  switch (source.kind) {
    case "file":
      return orAborted(readMediumFile(kind, source.path, signal), signal);
    case "url":
      return fetchBytes(kind, source.url, context.allowHosts, context.limits, signal);
    case "data-url":
      return decodeDataUrl(kind, source.text, label);
    case "base64":
      return decodeBase64(kind, source.text, label);
    case "bytes":
      return types.isUint8Array(source.data) ? source.data : new Uint8Array(source.data);
    case "blob":
      return orAborted(readBlob(kind, source.blob, label), signal);
    case "stream":
      return orAborted(readStream(kind, source.stream, label), signal);
  }
}

async function readBlob(kind: MediumKind, blob: Blob, label: string): Promise<Uint8Array> {
  if (blob.size > mediumKinds[kind].maxBytes) throw tooLarge(kind, label, blob.size);
  try {
    return new Uint8Array(await blob.arrayBuffer());
  } catch (cause) {
    throw unreadable(kind, label, "a Blob that can be read", String(cause), cause);
  }
}
