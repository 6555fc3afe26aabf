import { createHash } from "node:crypto";
import type { WireMedia } from "../../protocol/messages.ts";
import type { Submission } from "../transport.ts";
import { frameCount } from "./frames.ts";

/** Of each frame's beginning, middle and end: pictures that differ hardly agree in all three and in their length. */
const SLICE_BYTES = 256;

/**
 * One key per medium, equal for equal bytes: a digest over length and three slices of each frame. Good for routing only,
 * where two pictures that are taken for one cost nothing but a detour: the worker hashes everything itself.
 */
export function affinityKeys({ media, frames }: Pick<Submission, "media" | "frames">): string[] {
  let first = 0;
  return media.map((medium) => {
    const own = frames.slice(first, first + frameCount(medium));
    first += own.length;
    return keyOf(medium.kind, own);
  });
}

function keyOf(kind: WireMedia["kind"], frames: readonly Uint8Array[]): string {
  const digest = createHash("sha256").update(kind);
  for (const frame of frames) {
    digest.update(`${frame.byteLength};`);
    for (const slice of slicesOf(frame)) digest.update(slice);
  }
  return digest.digest("base64url");
}

function slicesOf(frame: Uint8Array): Uint8Array[] {
  const { byteLength } = frame;
  if (byteLength <= 3 * SLICE_BYTES) return [frame];
  const starts = [0, Math.floor((byteLength - SLICE_BYTES) / 2), byteLength - SLICE_BYTES];
  return starts.map((start) => frame.subarray(start, start + SLICE_BYTES));
}

/** The media that one process of a worker was sent, the latest `capacity` of them; the next process has seen none. */
export class SeenMedia {
  readonly #capacity: number;
  /** In the order of their last use. */
  readonly #keys = new Set<string>();

  constructor(capacity: number) {
    this.#capacity = capacity;
  }

  saw(keys: readonly string[]): void {
    for (const key of keys) {
      this.#keys.delete(key);
      this.#keys.add(key);
    }
    for (const key of this.#keys) {
      if (this.#keys.size <= this.#capacity) return;
      this.#keys.delete(key);
    }
  }

  /** The part of `keys` that were seen, 0 to 1; 0 when there are none. */
  share(keys: readonly string[]): number {
    if (keys.length === 0) return 0;
    return keys.filter((key) => this.#keys.has(key)).length / keys.length;
  }
}
