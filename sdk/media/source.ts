import { resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { types } from "node:util";
import { GlimpseError } from "../../protocol/errors.ts";
import { describe, invalid, isRecord } from "../invalid.ts";
import { formatBytes } from "./bytes.ts";
import { type ByteStream, isByteStream } from "./stream-bytes.ts";
import { plainUrl } from "./url.ts";

/** Where the bytes of one medium come from. Making one touches neither disk nor network. */
export type Source =
  /** `path` is absolute, `name` is what the caller wrote. */
  | { readonly kind: "file"; readonly path: string; readonly name: string }
  | { readonly kind: "url"; readonly url: string }
  | { readonly kind: "data-url"; readonly text: string }
  | { readonly kind: "base64"; readonly text: string }
  /** `owned`: a copy of ours, which nobody else can change. `name`: where they came from, if that is known. */
  | {
      readonly kind: "bytes";
      readonly data: Uint8Array | ArrayBufferLike;
      readonly owned: boolean;
      readonly name?: string;
    }
  | { readonly kind: "blob"; readonly blob: Blob }
  | { readonly kind: "stream"; readonly stream: ByteStream };

/**
 * The bytes of a picture, a video file or a PDF: a path, an http(s) URL, a `file:` URL or a data URL (as a string or a
 * URL), bytes, a Blob or File, or a stream of bytes. A stream is read once, to its end, whoever uses it first.
 */
export type MediaSource = string | URL | Uint8Array | ArrayBuffer | Blob | ByteStream;

const accepted = "a path, a URL, a data URL, a Buffer, Uint8Array, ArrayBuffer, Blob or stream of bytes";

/** `at` names the input in the error, as in `images[0]`; `also` is what else is accepted there. */
export function toSource(value: unknown, at: string, also = ""): Source {
  if (typeof value === "string") return fromText(value, at);
  if (value instanceof URL) return fromText(value.href, at);
  if (types.isUint8Array(value) || types.isAnyArrayBuffer(value)) return { kind: "bytes", data: value, owned: false };
  if (value instanceof Blob) return { kind: "blob", blob: value };
  if (isByteStream(value)) return { kind: "stream", stream: value };
  throw invalid(at, `${accepted}${also}`, value, wayToPass(value));
}

/** How to pass what is all but a source. */
function wayToPass(value: unknown): string | undefined {
  if (types.isPromise(value)) return "Await it first.";
  if (value instanceof Response) return "Pass its body, after a look at its status.";
  const isBase64 = isRecord(value) && "base64" in value;
  return isBase64 ? "Name it first: image({ base64 }), and pdf() and video() likewise." : undefined;
}

/** Bytes in any form, or `{ base64 }`. */
export function toNamedSource(value: unknown, at: string): Source {
  return isRecord(value) && "base64" in value ? fromBase64(value["base64"], `${at}.base64`) : toSource(value, at);
}

/** base64, or a data URL, which transformers takes in the same place. */
export function fromBase64(value: unknown, at: string): Source {
  if (typeof value !== "string") throw invalid(at, "a base64 string", value);
  return /^data:/i.test(value) ? { kind: "data-url", text: value } : { kind: "base64", text: value };
}

/** A path and nothing else: what a program names a path must not reach the network. */
export function fromPath(value: unknown, at: string): Source {
  if (typeof value !== "string" || value === "") throw invalid(at, "a path", value);
  if (schemeOf(value) !== undefined) throw invalid(at, "a path", value, "Pass it as the field url.");
  return { kind: "file", path: resolve(value), name: value };
}

/** The scheme of what is written as a URL, in lower case; undefined for a path. */
function schemeOf(text: string): string | undefined {
  const scheme = /^([a-z][a-z0-9+.-]*):\/\/|^(data|blob|file|https?):/i.exec(text);
  return (scheme?.[1] ?? scheme?.[2])?.toLowerCase();
}

function fromText(text: string, at: string): Source {
  if (text === "") throw invalid(at, accepted, text);
  const scheme = schemeOf(text);
  switch (scheme) {
    case undefined:
      return fromPath(text, at);
    case "data":
      return { kind: "data-url", text };
    case "file":
      return fromFileUrl(text, at);
    case "http":
    case "https":
      if (!URL.canParse(text)) throw unparsable(at, scheme);
      return { kind: "url", url: new URL(text).href };
    default:
      throw new GlimpseError("FETCH_REFUSED", `${at}: expected http or https, got ${describe(scheme)}`, {
        hint: "Read it yourself and pass the bytes.",
      });
  }
}

function fromFileUrl(text: string, at: string): Source {
  try {
    const path = fileURLToPath(text);
    return { kind: "file", path, name: path };
  } catch {
    throw new GlimpseError(
      "INVALID_REQUEST",
      `${at}: expected a file URL with an absolute path, got another text of file:`,
      {
        hint: "Write it as file:///directory/picture.png, or pass the path itself.",
      },
    );
  }
}

/** Says no more than the scheme, as the rest may hold a password. Node's own error repeats the rest, too. */
function unparsable(at: string, scheme: string): GlimpseError {
  return new GlimpseError(
    "INVALID_REQUEST",
    `${at}: expected a URL that can be parsed, got another text of ${scheme}:`,
    { hint: "Check its host and port." },
  );
}

/** Two sources with the same key have the same bytes. */
export function sourceKey(source: Source): unknown {
  switch (source.kind) {
    case "file":
      return `file ${source.path}`;
    case "url":
      return `url ${source.url}`;
    case "data-url":
    case "base64":
      return `${source.kind} ${source.text}`;
    case "bytes":
      return source.data;
    case "blob":
      return source.blob;
    case "stream":
      return source.stream;
  }
}

/** The source with bytes that its caller cannot change any more. */
export function snapshot(source: Source): Source {
  if (source.kind !== "bytes" || source.owned) return source;
  const { data } = source;
  const copy = types.isUint8Array(data) ? Buffer.from(data) : Buffer.from(new Uint8Array(data));
  return { kind: "bytes", data: copy, owned: true };
}

/** What to call the medium in a message: its path, its URL without secrets, or its place in the request. */
export function sourceLabel(source: Source, at: string): string {
  switch (source.kind) {
    case "file":
      return source.name.length > 200 ? `${source.name.slice(0, 200)}…` : source.name;
    case "url":
      return plainUrl(source.url);
    case "data-url":
      return `${at} (data URL, ${formatBytes(source.text.length)})`;
    case "base64":
      return `${at} (base64, ${formatBytes(source.text.length)})`;
    case "bytes":
      return source.name ?? `${at} (${source.data.constructor.name}, ${formatBytes(source.data.byteLength)})`;
    case "blob":
      return `${at} (Blob, ${formatBytes(source.blob.size)})`;
    case "stream":
      return `${at} (stream)`;
  }
}
