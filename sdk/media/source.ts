import { resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { types } from "node:util";
import { GlimpseError } from "../../protocol/errors.ts";
import { describe, invalid } from "../request/invalid.ts";
import { plainUrl } from "./url.ts";

/** Where the bytes of one picture come from. Making one touches neither disk nor network. */
export type Source =
  /** `path` is absolute, `name` is what the caller wrote. */
  | { readonly kind: "file"; readonly path: string; readonly name: string }
  | { readonly kind: "url"; readonly url: string }
  | { readonly kind: "data-url"; readonly text: string }
  | { readonly kind: "base64"; readonly text: string }
  /** `owned`: a copy of ours, which nobody else can change. */
  | { readonly kind: "bytes"; readonly data: Uint8Array | ArrayBufferLike; readonly owned: boolean }
  | { readonly kind: "blob"; readonly blob: Blob };

/** The property that holds the source of an ImageRef; registered, so that two copies of the package understand each other. */
export const imageKey: unique symbol = Symbol.for("glimpse.image");

const accepted = "a path, a URL, a data URL, a Buffer, Uint8Array, ArrayBuffer or Blob, or what image() returned";

/** `at` names the input in the error, as in `images[0]`. */
export function toSource(value: unknown, at: string): Source {
  if (typeof value === "string") return fromText(value, at);
  if (value instanceof URL) return fromText(value.href, at);
  if (types.isUint8Array(value) || types.isAnyArrayBuffer(value)) return { kind: "bytes", data: value, owned: false };
  if (value instanceof Blob) return { kind: "blob", blob: value };
  if (typeof value === "object" && value !== null && imageKey in value) return value[imageKey] as Source;
  throw invalid(at, accepted, value);
}

/** base64, or a data URL, which transformers takes in the same place. */
export function fromBase64(value: unknown, at: string): Source {
  if (typeof value !== "string") throw invalid(at, "a base64 string", value);
  return /^data:/i.test(value) ? { kind: "data-url", text: value } : { kind: "base64", text: value };
}

function fromText(text: string, at: string): Source {
  if (text === "") throw invalid(at, accepted, text);
  const scheme = /^([a-z][a-z0-9+.-]*):\/\/|^(data|blob|file|https?):/i.exec(text);
  switch ((scheme?.[1] ?? scheme?.[2])?.toLowerCase()) {
    case undefined:
      return { kind: "file", path: resolve(text), name: text };
    case "data":
      return { kind: "data-url", text };
    case "file":
      return fromFileUrl(text, at);
    case "http":
    case "https":
      if (!URL.canParse(text)) throw invalid(at, "a URL that can be parsed", text);
      return { kind: "url", url: new URL(text).href };
    default:
      throw new GlimpseError("FETCH_REFUSED", `${at}: expected http or https, got ${describe(text)}`, {
        hint: "Read it yourself and pass the bytes.",
      });
  }
}

function fromFileUrl(text: string, at: string): Source {
  try {
    const path = fileURLToPath(text);
    return { kind: "file", path, name: path };
  } catch (cause) {
    throw new GlimpseError(
      "INVALID_REQUEST",
      `${at}: expected a file URL with an absolute path, got ${describe(text)}`,
      {
        cause,
      },
    );
  }
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
  }
}

/** The source with bytes that its caller cannot change any more. */
export function snapshot(source: Source): Source {
  if (source.kind !== "bytes" || source.owned) return source;
  const { data } = source;
  const copy = types.isUint8Array(data) ? Buffer.from(data) : Buffer.from(new Uint8Array(data));
  return { kind: "bytes", data: copy, owned: true };
}

/** What to call the picture in a message: its path, its URL without secrets, or its place in the request. */
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
      return `${at} (${source.data.constructor.name}, ${formatBytes(source.data.byteLength)})`;
    case "blob":
      return `${at} (Blob, ${formatBytes(source.blob.size)})`;
  }
}

export function formatBytes(bytes: number): string {
  if (bytes < 1024) return `${bytes} bytes`;
  const kib = bytes / 1024;
  return kib < 1024 ? `${short(kib)} KiB` : `${short(kib / 1024)} MiB`;
}

function short(value: number): string {
  return value < 10 && !Number.isInteger(value) ? value.toFixed(1) : String(Math.round(value));
}
