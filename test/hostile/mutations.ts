import { readdirSync, readFileSync } from "node:fs";
import type { Random } from "../chaos/random.ts";

const folder = new URL("../../protocol/vectors/", import.meta.url);

/** Every accepted encoding of every message that a worker sends. */
export const goldenFrames: readonly Buffer[] = readdirSync(folder)
  .filter((name) => name.endsWith(".json"))
  .map((name) => JSON.parse(readFileSync(new URL(name, folder), "utf8")) as { encodings: string[] })
  .flatMap(({ encodings }) => encodings.map((encoding) => Buffer.from(encoding, "hex")));

/** Prefixes that announce much more than follows: an array, a map, a string, bytes, and an extension. */
const boasts = ["ddffffffff", "dfffffffff", "dbffffffff", "c6ffffffff", "c9ffffffff01"].map((hex) =>
  Buffer.from(hex, "hex"),
);

const mutations: readonly ((frame: Buffer, random: Random) => Buffer)[] = [
  function flipBit(frame, random) {
    const mutated = Buffer.from(frame);
    const at = random.int(frame.length);
    mutated[at] = (mutated[at] as number) ^ (1 << random.int(8));
    return mutated;
  },
  function replaceByte(frame, random) {
    const mutated = Buffer.from(frame);
    mutated[random.int(frame.length)] = random.int(256);
    return mutated;
  },
  function truncate(frame, random) {
    return frame.subarray(0, random.int(frame.length));
  },
  function append(frame, random) {
    return Buffer.concat([frame, noise(random, 1 + random.int(16))]);
  },
  function cutOut(frame, random) {
    const from = random.int(frame.length);
    return Buffer.concat([frame.subarray(0, from), frame.subarray(from + 1 + random.int(8))]);
  },
  function repeatPiece(frame, random) {
    const from = random.int(frame.length);
    return Buffer.concat([frame.subarray(0, from), frame.subarray(from - random.int(from + 1))]);
  },
  function boast(frame, random) {
    const at = random.int(frame.length);
    return Buffer.concat([frame.subarray(0, at), random.pick(boasts), frame.subarray(at)]);
  },
  function nest(frame, random) {
    return Buffer.concat([Buffer.alloc(random.int(100_000), 0x91), frame]);
  },
  function crossOver(frame, random) {
    const other = random.pick(goldenFrames);
    return Buffer.concat([frame.subarray(0, random.int(frame.length)), other.subarray(random.int(other.length))]);
  },
  function nothingButNoise(_, random) {
    return noise(random, random.int(200));
  },
];

function noise(random: Random, length: number): Buffer {
  return Buffer.from(Array.from({ length }, () => random.int(256)));
}

/** A golden frame with one to three changes. */
export function mutated(random: Random): Buffer {
  let frame = random.pick(goldenFrames);
  for (let changes = 1 + random.int(3); changes > 0 && frame.length > 0; changes -= 1) {
    frame = random.pick(mutations)(frame, random);
  }
  return frame;
}
