import { encode, MAX_FILE_BYTES, MAX_HEADER_BYTES } from "../../protocol/codec.ts";
import { GlimpseError } from "../../protocol/errors.ts";
import type { WireMedia } from "../../protocol/messages.ts";
import { MAX_REQUEST_MEDIA_BYTES } from "../../protocol/remote.ts";

/** Before each frame: its length, a big-endian integer. */
const LENGTH_BYTES = 4;

/** A message as it is written: its header, then the raw frames, each with its length before it. @throws as `encode` does. */
export function toBytes(message: object, frames: readonly Uint8Array[] = []): Uint8Array[] {
  return [encode(message), ...frames].flatMap((frame) => [lengthOf(frame), frame]);
}

function lengthOf(frame: Uint8Array): Buffer {
  const length = Buffer.allocUnsafe(LENGTH_BYTES);
  length.writeUInt32BE(frame.byteLength);
  return length;
}

/** How many bytes each raw frame of a request has. */
export function frameSizes(media: readonly WireMedia[]): number[] {
  return media.flatMap((medium) => medium.bytes);
}

/** Why a request with raw frames of these sizes is not read; undefined if it is. */
export function refuseSizes(sizes: readonly number[]): string | undefined {
  const largest = sizes.reduce((most, size) => Math.max(most, size), 0);
  if (largest > MAX_FILE_BYTES) return `a medium has ${largest} bytes, more than ${MAX_FILE_BYTES}`;
  const all = sizes.reduce((sum, size) => sum + size, 0);
  if (all <= MAX_REQUEST_MEDIA_BYTES) return undefined;
  return `the media of a request have ${all} bytes together, more than ${MAX_REQUEST_MEDIA_BYTES}`;
}

interface Incomplete<Header> {
  header: Header;
  sizes: readonly number[];
  frames: Uint8Array[];
}

/**
 * Takes the bytes of a connection apart into messages. A length is refused before what it announces is read, so that a
 * peer costs no more memory than it has sent.
 */
export class MessageReader<Header> {
  /** A header that is longer is refused. */
  maxHeaderBytes = MAX_HEADER_BYTES;
  readonly #decode: (frame: Uint8Array) => Header;
  readonly #sizesOf: (header: Header) => readonly number[];
  #chunks: Buffer[] = [];
  #buffered = 0;
  /** Of the frame that comes next, once it is known. */
  #length: number | undefined;
  #incomplete: Incomplete<Header> | undefined;

  /** `sizesOf` says how many bytes each raw frame has that follows a header. */
  constructor(decode: (frame: Uint8Array) => Header, sizesOf: (header: Header) => readonly number[] = () => []) {
    this.#decode = decode;
    this.#sizesOf = sizesOf;
  }

  /** The messages that `chunk` completes. @throws GlimpseError PROTOCOL_ERROR for what is none. */
  *read(chunk: Buffer): Generator<{ header: Header; frames: readonly Uint8Array[] }> {
    this.#chunks.push(chunk);
    this.#buffered += chunk.byteLength;
    for (let frame = this.#nextFrame(); frame !== undefined; frame = this.#nextFrame()) {
      const message = this.#add(frame);
      if (message !== undefined) yield message;
    }
  }

  #nextFrame(): Buffer | undefined {
    if (this.#length === undefined) {
      const prefix = this.#take(LENGTH_BYTES);
      if (prefix === undefined) return undefined;
      this.#length = this.#checked(prefix.readUInt32BE());
    }
    const frame = this.#take(this.#length);
    if (frame !== undefined) this.#length = undefined;
    return frame;
  }

  #checked(length: number): number {
    const expected = this.#incomplete?.sizes[this.#incomplete.frames.length];
    if (expected !== undefined && length !== expected) {
      throw refusal(`a raw frame has ${length} bytes, its header announced ${expected}`);
    }
    if (expected === undefined && length > this.maxHeaderBytes) {
      throw refusal(`a frame has ${length} bytes, more than ${this.maxHeaderBytes}`);
    }
    return length;
  }

  #add(frame: Buffer): Incomplete<Header> | undefined {
    if (this.#incomplete === undefined) {
      const header = this.#decode(frame);
      const sizes = this.#sizesOf(header);
      const refused = refuseSizes(sizes);
      if (refused !== undefined) throw refusal(refused);
      this.#incomplete = { header, sizes, frames: [] };
    } else {
      this.#incomplete.frames.push(frame);
    }
    const message = this.#incomplete;
    if (message.frames.length < message.sizes.length) return undefined;
    this.#incomplete = undefined;
    return message;
  }

  /** The next `length` bytes, once they are all there. */
  #take(length: number): Buffer | undefined {
    if (this.#buffered < length) return undefined;
    const [first] = this.#chunks;
    if (first === undefined || first.byteLength < length) this.#chunks = [Buffer.concat(this.#chunks)];
    const bytes = this.#chunks[0] ?? Buffer.alloc(0);
    this.#chunks[0] = bytes.subarray(length);
    if (this.#chunks[0].byteLength === 0) this.#chunks.shift();
    this.#buffered -= length;
    return bytes.subarray(0, length);
  }
}

function refusal(reason: string): GlimpseError {
  return new GlimpseError("PROTOCOL_ERROR", `the connection carries no message of Glimpse: ${reason}`);
}
