// One reader a format: `imageSize()` would try all that it knows on what begins as none of the four that a worker reads.
import { GIF } from "image-size/types/gif";
import { PNG } from "image-size/types/png";
import { WEBP } from "image-size/types/webp";
import type { Size } from "./resize.ts";

/** The library's reader of JPEG looks at damaged bytes one by one, for seconds: nothing else would run meanwhile. */
const JPEG = { validate: (encoded: Uint8Array) => encoded[0] === 0xff && encoded[1] === 0xd8, calculate: jpegSize };

const readers = [PNG, JPEG, WEBP, GIF];

/** What the header of an encoded picture says, before EXIF orientation; undefined when it cannot be read. */
export function pictureSize(encoded: Uint8Array): Size | undefined {
  try {
    const size = readers.find((reader) => reader.validate(encoded))?.calculate(encoded);
    if (size === undefined || !(size.width > 0 && size.height > 0)) return undefined;
    return { width: size.width, height: size.height };
  } catch {
    // Readers throw on what they do not expect; beyond the end of the bytes is such.
    return undefined;
  }
}

/** Enough for 64 MB of previews and colour profiles before the size. */
const MAX_SEGMENTS = 1_000;

function jpegSize(encoded: Uint8Array): Size | undefined {
  const view = new DataView(encoded.buffer, encoded.byteOffset, encoded.byteLength);
  let at = 2;
  for (let segment = 0; segment < MAX_SEGMENTS; segment += 1) {
    const [start, marker] = [view.getUint8(at), view.getUint8(at + 1)];
    if (start !== 0xff) return undefined;
    if (isStartOfFrame(marker)) return { height: view.getUint16(at + 5), width: view.getUint16(at + 7) };
    // Any number of 0xff may stand before a marker.
    at += marker === 0xff ? 1 : 2 + view.getUint16(at + 2);
  }
  return undefined;
}

/** 0xc4, 0xc8 and 0xcc have other meanings. */
function isStartOfFrame(marker: number): boolean {
  return marker === 0xc0 || (marker > 0xc0 && marker <= 0xcf && marker % 4 !== 0);
}
