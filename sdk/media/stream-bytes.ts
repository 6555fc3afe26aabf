import { types } from "node:util";
import { GlimpseError } from "../../protocol/errors.ts";
import { type MediumKind, mediumKinds, tooLarge, unreadable } from "./kind.ts";

/** A stream of bytes: a web ReadableStream, a Node Readable, or any other async iterable of Uint8Arrays. */
export type ByteStream = AsyncIterable<Uint8Array> | ReadableStream<Uint8Array>;

export function isByteStream(value: unknown): value is ByteStream {
  return typeof value === "object" && value !== null && Symbol.asyncIterator in value;
}

const collected = new WeakMap<ByteStream, Promise<Uint8Array>>();

/**
 * All bytes of a stream. It can be read once only, but may be named in several requests: what was read is kept for as
 * long as the stream itself is. So reading goes on when the request that began it is aborted.
 */
export function readStream(kind: MediumKind, stream: ByteStream, label: string): Promise<Uint8Array> {
  const known = collected.get(stream);
  if (known !== undefined) return known;
  const bytes = collect(kind, stream as AsyncIterable<unknown>, label);
  // Whoever waits for it hears of it; a request that was aborted does not wait any more.
  bytes.catch(() => {});
  collected.set(stream, bytes);
  return bytes;
}

async function collect(kind: MediumKind, stream: AsyncIterable<unknown>, label: string): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  try {
    // Leaving the loop cancels the stream.
    for await (const chunk of stream) {
      if (!types.isUint8Array(chunk)) throw unreadable(kind, label, "a stream of bytes", `one of ${typeof chunk}s`);
      size += chunk.byteLength;
      if (size > mediumKinds[kind].maxBytes) throw tooLarge(kind, label, undefined);
      chunks.push(chunk);
    }
  } catch (cause) {
    if (GlimpseError.is(cause)) throw cause;
    throw unreadable(kind, label, "a stream that can be read to its end", String(cause), cause);
  }
  return Buffer.concat(chunks, size);
}
