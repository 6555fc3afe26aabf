import { type MediumKind, mediumKinds, tooLarge, unreadable } from "./kind.ts";

/** The bytes of a data URL (RFC 2397): base64 or percent-encoded. Its media type is not believed. */
export function decodeDataUrl(kind: MediumKind, text: string, label: string): Uint8Array {
  const comma = text.indexOf(",");
  if (comma === -1) throw unreadable(kind, label, "a data URL with a comma before its data", "none");
  const body = text.slice(comma + 1);
  if (!/;\s*base64\s*$/i.test(text.slice(0, comma))) return percentDecode(kind, body, label);
  return decodeBase64(kind, body.includes("%") ? percentDecode(kind, body, label).toString("latin1") : body, label);
}

/**
 * The WHATWG's forgiving base64: white space is skipped and padding may be missing; any other character, or a length
 * that no bytes have, is refused. (Buffer.from would skip what it does not know.)
 */
export function decodeBase64(kind: MediumKind, text: string, label: string): Uint8Array {
  const packed = /\s/.test(text) ? text.replace(/[\t\n\f\r ]+/g, "") : text;
  const digits = packed.replace(/={1,2}$/, "");
  const stranger = /[^A-Za-z0-9+/]/.exec(digits);
  if (stranger !== null) {
    throw unreadable(kind, label, "base64", `${JSON.stringify(stranger[0])} after ${stranger.index} digits`);
  }
  const padded = packed.length !== digits.length;
  if (digits.length % 4 === 1 || (padded && packed.length % 4 !== 0)) {
    throw unreadable(kind, label, "base64", `a length of ${packed.length}, which is cut off`);
  }
  const size = Math.floor((digits.length * 3) / 4);
  if (size > mediumKinds[kind].maxBytes) throw tooLarge(kind, label, size);
  return Buffer.from(digits, "base64");
}

function percentDecode(kind: MediumKind, text: string, label: string): Buffer {
  const stranger = /%(?![0-9a-f]{2})|[^\x20-\x7e]/i.exec(text);
  if (stranger !== null) {
    throw unreadable(
      kind,
      label,
      "percent-encoded data",
      `${JSON.stringify(stranger[0])} at character ${stranger.index}`,
    );
  }
  const decoded = text.replace(/%(..)/g, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)));
  return Buffer.from(decoded, "latin1");
}
