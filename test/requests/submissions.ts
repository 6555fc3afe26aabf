import type { Submission } from "../../orchestrator/transport.ts";

/** The first bytes of pictures of 333 × 500, as Pillow wrote them. */
export const headers = {
  png: Buffer.from("89504e470d0a1a0a0000000d494844520000014d000001f4080200000036", "hex"),
  gif: Buffer.from("4749463837614d01f401810000ffffff0000000000000000002c00000000", "hex"),
  webpLossy: Buffer.from("524946466601000057454250565038205a0100005027009d012a4d01f401", "hex"),
  webpLossless: Buffer.from("524946462e000000574542505650384c210000002f4cc17c0007d0fffef7", "hex"),
  webpExtended: Buffer.from("52494646b201000057454250565038580a000000100000004c0100f30100", "hex"),
};

/** A JPEG of 333 × 500 up to its size, after segments with so many bytes of other things. */
export function jpegHeader(...segments: number[]): Buffer {
  const others = segments.map((bytes) => {
    const head = Buffer.from([0xff, 0xe1, 0, 0]);
    head.writeUInt16BE(bytes + 2, 2);
    return Buffer.concat([head, Buffer.alloc(bytes)]);
  });
  return Buffer.concat([Buffer.from("ffd8", "hex"), ...others, Buffer.from("ffffc2001108" + "01f4014d" + "03", "hex")]);
}

export function pictures(...frames: Uint8Array[]): Submission {
  return submission({ media: frames.map(({ byteLength }) => ({ kind: "image", bytes: byteLength })), frames });
}

export function videoOf(...frames: Uint8Array[]): Submission {
  const bytes = frames.map(({ byteLength }) => byteLength);
  return submission({ media: [{ kind: "video", bytes, fps: 2 }], frames });
}

export function submission(parts: Partial<Submission> = {}): Submission {
  return {
    id: "request-1",
    messages: [{ role: "user", content: [{ type: "text", text: "What is this?" }] }],
    media: [],
    frames: [],
    options: { seed: 1 },
    ...parts,
  };
}
