/**
 * Walks a MessagePack value without building it and refuses what no message of ours contains: extension types (which
 * msgpackr would turn into records, errors or regular expressions), the unused byte 0xc1, deep nesting, more values
 * than the limit, truncation and trailing bytes. Returns the reason of the refusal, or undefined.
 */
export function refusePlainMsgpack(bytes: Uint8Array, limits: { depth: number; values: number }): string | undefined {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  /** How many values are still to come at each level that is open. */
  const open: number[] = [1];
  let at = 0;
  let values = 0;
  while (open.length > 0) {
    const left = open[open.length - 1] as number;
    if (left === 0) {
      open.pop();
      continue;
    }
    open[open.length - 1] = left - 1;
    if (at >= bytes.length) return "it ends in the middle of a value";
    if (++values > limits.values) return `it holds more than ${limits.values} values`;
    const head = readHead(view, at);
    if (head === undefined) return `byte ${at} is 0x${bytes[at]?.toString(16)}, which no message contains`;
    if (at + head.size > bytes.length) return "it ends in the middle of a value";
    at += head.size;
    if (head.children > 0) {
      if (open.length >= limits.depth) return `it is nested deeper than ${limits.depth} levels`;
      open.push(head.children);
    }
  }
  return at === bytes.length ? undefined : `${bytes.length - at} bytes follow the value`;
}

interface Head {
  /** Bytes of the head, and of the body where it is a string, number or bytes. */
  size: number;
  /** Values inside an array or map, keys included. */
  children: number;
}

// The MessagePack specification, format by format.
/** nil, false, true, and numbers: bytes in all. */
const SIZES = new Map([
  ...[0xc0, 0xc2, 0xc3].map((byte) => [byte, 1] as const),
  ...[0xcc, 0xd0].map((byte) => [byte, 2] as const),
  ...[0xcd, 0xd1].map((byte) => [byte, 3] as const),
  ...[0xca, 0xce, 0xd2].map((byte) => [byte, 5] as const),
  ...[0xcb, 0xcf, 0xd3].map((byte) => [byte, 9] as const),
]);
/** bin and str: bytes of the length that follows. */
const RUNS = new Map<number, 1 | 2 | 4>([
  [0xc4, 1],
  [0xc5, 2],
  [0xc6, 4],
  [0xd9, 1],
  [0xda, 2],
  [0xdb, 4],
]);
/** array and map: bytes of the count that follows, and values per entry. */
const CONTAINERS = new Map<number, { width: 2 | 4; values: 1 | 2 }>([
  [0xdc, { width: 2, values: 1 }],
  [0xdd, { width: 4, values: 1 }],
  [0xde, { width: 2, values: 2 }],
  [0xdf, { width: 4, values: 2 }],
]);

function readHead(view: DataView, at: number): Head | undefined {
  const byte = view.getUint8(at);
  if (byte <= 0x7f || byte >= 0xe0) return { size: 1, children: 0 };
  if (byte <= 0x8f) return { size: 1, children: 2 * (byte & 0x0f) };
  if (byte <= 0x9f) return { size: 1, children: byte & 0x0f };
  if (byte <= 0xbf) return { size: 1 + (byte & 0x1f), children: 0 };
  const size = SIZES.get(byte);
  if (size !== undefined) return { size, children: 0 };
  const run = RUNS.get(byte);
  if (run !== undefined) return { size: 1 + run + readLength(view, at + 1, run), children: 0 };
  const container = CONTAINERS.get(byte);
  if (container === undefined) return undefined;
  const { width, values } = container;
  return { size: 1 + width, children: values * readLength(view, at + 1, width) };
}

/** A length that is cut off reads as larger than any input. */
function readLength(view: DataView, at: number, width: 1 | 2 | 4): number {
  if (at + width > view.byteLength) return Number.POSITIVE_INFINITY;
  if (width === 1) return view.getUint8(at);
  return width === 2 ? view.getUint16(at) : view.getUint32(at);
}
