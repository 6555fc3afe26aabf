import { types } from "node:util";
import { MAX_MEDIA_BYTES } from "../../protocol/codec.ts";
import { GlimpseError } from "../../protocol/errors.ts";
import { orAborted } from "../abort.ts";
import { decodeBase64, decodeDataUrl } from "./data-url.ts";
import { type FetchLimits, fetchBytes } from "./fetch.ts";
import { readPictureFile } from "./file.ts";
import { checkPicture, tooLarge } from "./format.ts";
import type { Source } from "./source.ts";

export interface ReadContext {
  allowHosts: ReadonlySet<string>;
  limits: FetchLimits;
  signal: AbortSignal;
}

/** The one place where the bytes of pictures enter: at most MAX_MEDIA_BYTES, and by their beginning PNG, JPEG, WebP or GIF. */
export async function readPicture(source: Source, label: string, context: ReadContext): Promise<Uint8Array> {
  const bytes = await readBytes(source, label, context);
  checkPicture(bytes, label);
  return bytes;
}

async function readBytes(source: Source, label: string, context: ReadContext): Promise<Uint8Array> {
  switch (source.kind) {
    case "file":
      return orAborted(readPictureFile(source.path, context.signal), context.signal);
    case "url":
      return fetchBytes(source.url, context.allowHosts, context.limits, context.signal);
    case "data-url":
      return decodeDataUrl(source.text, label);
    case "base64":
      return decodeBase64(source.text, label);
    case "bytes":
      return types.isUint8Array(source.data) ? source.data : new Uint8Array(source.data);
    case "blob":
      return orAborted(readBlob(source.blob, label), context.signal);
  }
}

async function readBlob(blob: Blob, label: string): Promise<Uint8Array> {
  if (blob.size > MAX_MEDIA_BYTES) throw tooLarge(label, blob.size);
  try {
    return new Uint8Array(await blob.arrayBuffer());
  } catch (cause) {
    throw new GlimpseError("IMAGE_UNREADABLE", `${label}: expected a Blob that can be read, got ${cause}`, { cause });
  }
}
