import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { MessageReader, refuseSizes, toBytes } from "../../orchestrator/remote/frames.ts";
import { MAX_FILE_BYTES, MAX_HEADER_BYTES } from "../../protocol/codec.ts";
import { decodeToBackground } from "../../protocol/remote.ts";

const submit = (sizes: number[]) => ({
  type: "submit",
  request: "r",
  messages: [{ role: "user", content: [{ type: "text", text: "What is this?" }] }],
  media: sizes.map((bytes) => ({ kind: "image", bytes })),
  options: { seed: 1 },
});

const reader = () =>
  new MessageReader(decodeToBackground, (header) =>
    header.type === "submit" ? header.media.flatMap(({ bytes }) => bytes) : [],
  );

const length = (bytes: number) => {
  const prefix = Buffer.alloc(4);
  prefix.writeUInt32BE(bytes);
  return prefix;
};

describe("the frames of a connection", () => {
  test("arrive whole, however the bytes are cut", () => {
    const pictures = fc.array(fc.uint8Array({ maxLength: 300 }), { maxLength: 4 });
    fc.assert(
      fc.property(fc.array(pictures, { minLength: 1, maxLength: 4 }), fc.array(fc.nat(97)), (requests, cuts) => {
        const sent = requests.map((frames) => ({ header: submit(frames.map((frame) => frame.byteLength)), frames }));
        const bytes = Buffer.concat(sent.flatMap(({ header, frames }) => toBytes(header, frames)));
        const read = reader();
        const got = [];
        let at = 0;
        for (const cut of [...cuts, bytes.byteLength]) {
          got.push(...read.read(bytes.subarray(at, at + cut)));
          at += cut;
        }
        expect(got.map(({ header, frames }) => ({ header, frames: frames.map((frame) => [...frame]) }))).toEqual(
          sent.map(({ header, frames }) => ({ header, frames: frames.map((frame) => [...frame]) })),
        );
      }),
      { numRuns: 100, seed: 5 },
    );
  });

  test.each([
    ["a header that is too long, before it is read", length(MAX_HEADER_BYTES + 1), "more than"],
    ["a header that is no MessagePack", Buffer.concat([length(1), Buffer.from([0xc1])]), "0xc1"],
    ["a message that does not exist", Buffer.concat(toBytes({ type: "paint" })), "type"],
    ["a field too many", Buffer.concat(toBytes({ type: "cancel", request: "r", why: "x" })), "why"],
    [
      "a picture whose length is not the announced one",
      Buffer.concat([...toBytes(submit([3])), length(4)]),
      "a raw frame has 4 bytes, its header announced 3",
    ],
    ["a medium that is too large", Buffer.concat(toBytes(submit([MAX_FILE_BYTES + 1]))), "a medium has"],
    ["media that are too large together", Buffer.concat(toBytes(submit(Array(5).fill(MAX_FILE_BYTES)))), "together"],
  ])("refuse %s", (_name, bytes, reason) => {
    expect(() => [...reader().read(bytes)]).toThrow(
      expect.objectContaining({ code: "PROTOCOL_ERROR", message: expect.stringContaining(reason) }),
    );
  });

  test("of the largest request that is taken are not refused", () => {
    expect(refuseSizes(Array(4).fill(MAX_FILE_BYTES))).toBeUndefined();
  });
});
