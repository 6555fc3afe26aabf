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

/** The MessagePack specification, format by format. A length that is cut off reads as larger than the input. */
function readHead(view: DataView, at: number): Head | undefined {
  const byte = view.getUint8(at);
  if (byte <= 0x7f || byte >= 0xe0) return { size: 1, children: 0 };
  if (byte <= 0x8f) return { size: 1, children: 2 * (byte & 0x0f) };
  if (byte <= 0x9f) return { size: 1, children: byte & 0x0f };
  if (byte <= 0xbf) return { size: 1 + (byte & 0x1f), children: 0 };
  const length = (width: 1 | 2 | 4): number => {
    if (at + 1 + width > view.byteLength) return Number.POSITIVE_INFINITY;
    if (width === 1) return view.getUint8(at + 1);
    return width === 2 ? view.getUint16(at + 1) : view.getUint32(at + 1);
  };
  switch (byte) {
    case 0xc0: // nil
    case 0xc2: // false
    case 0xc3: // true
      return { size: 1, children: 0 };
    case 0xc4: // bin 8, 16, 32
    case 0xd9: // str 8, 16, 32
      return { size: 2 + length(1), children: 0 };
    case 0xc5:
    case 0xda:
      return { size: 3 + length(2), children: 0 };
    case 0xc6:
    case 0xdb:
      return { size: 5 + length(4), children: 0 };
    case 0xcc: // uint 8, int 8
    case 0xd0:
      return { size: 2, children: 0 };
    case 0xcd: // uint 16, int 16
    case 0xd1:
      return { size: 3, children: 0 };
    case 0xca: // float 32, uint 32, int 32
    case 0xce:
    case 0xd2:
      return { size: 5, children: 0 };
    case 0xcb: // float 64, uint 64, int 64
    case 0xcf:
    case 0xd3:
      return { size: 9, children: 0 };
    case 0xdc: // array 16, 32
      return { size: 3, children: length(2) };
    case 0xdd:
      return { size: 5, children: length(4) };
    case 0xde: // map 16, 32
      return { size: 3, children: 2 * length(2) };
    case 0xdf:
      return { size: 5, children: 2 * length(4) };
    default:
      return undefined;
  }
}
