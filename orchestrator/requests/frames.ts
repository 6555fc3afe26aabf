import type { WireMedia } from "../../protocol/messages.ts";

/** How many raw frames a medium has: a video as pictures has one for each of them, everything else is one. */
export function frameCount({ bytes }: WireMedia): number {
  return typeof bytes === "number" ? 1 : bytes.length;
}
