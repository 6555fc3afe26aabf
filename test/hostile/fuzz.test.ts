import { expect, test } from "vitest";
import { decodeControl, decodeData } from "../../protocol/codec.ts";
import { GlimpseError } from "../../protocol/errors.ts";
import { seedsOr, withSeed } from "../chaos/random.ts";
import { heldBytes } from "./heap.ts";
import { pack } from "./impostor.ts";
import { goldenFrames, mutated } from "./mutations.ts";

const FRAMES = 30_000;
const SLACK_BYTES = 4 * 1024 * 1024;

test.each(seedsOr([1, 2]))(
  "a frame is a message or a named error, whatever has been done to it, and leaves no memory behind: seed %i",
  (seed) =>
    withSeed(seed, async (random) => {
      const play = (frames: number) => {
        const counts = { refused: 0, read: 0 };
        for (let frame = 0; frame < frames; frame += 1) counts[outcome(mutated(random))] += 1;
        return counts;
      };
      play(FRAMES / 10);
      const before = await heldBytes();
      const counts = play(FRAMES);
      expect((await heldBytes()) - before).toBeLessThan(SLACK_BYTES);
      // Most are refused; a flipped bit of a text is a message still.
      expect(counts.refused).toBeGreaterThan(FRAMES / 2);
      expect(counts.read).toBeGreaterThan(0);
    }),
);

test("an error quotes no more of a frame than can be read", () => {
  const frame = pack({ type: "hello", ["x".repeat(1_000_000)]: 1 });
  expect(() => decodeControl(frame)).toThrow(/^a frame on the control channel is not a message: .{10,900}$/s);
});

test("the fuzz begins with frames that are messages", () => {
  expect(goldenFrames.filter((frame) => outcome(frame) === "read").length).toBeGreaterThan(10);
});

/** Whether either channel takes it. */
function outcome(frame: Buffer): "read" | "refused" {
  const outcomes = [decodeControl, decodeData].map((decode) => {
    try {
      decode(frame);
      return "read";
    } catch (error) {
      if (!GlimpseError.is(error, "PROTOCOL_ERROR")) throw error;
      expect(error.message.length).toBeLessThan(1_000);
      return "refused";
    }
  });
  return outcomes.includes("read") ? "read" : "refused";
}
