import { expect, test } from "vitest";
import { affinityKeys, SeenMedia } from "../../orchestrator/requests/affinity.ts";
import { pictures, submission, videoOf } from "./submissions.ts";

/** Bytes that differ from each other everywhere. */
function bytes(length: number, seed = 0): Uint8Array {
  return Uint8Array.from({ length }, (_, index) => (index * 31 + seed + (index >> 8)) % 251);
}

function changed(picture: Uint8Array, at: number): Uint8Array {
  const copy = picture.slice();
  copy[at] = (copy[at] ?? 0) ^ 0xff;
  return copy;
}

test("the same picture has the same key in every request, whatever stands beside it", () => {
  const [one, two] = [bytes(5_000), bytes(5_000, 1)];
  const [first] = affinityKeys(pictures(one));
  expect(affinityKeys(pictures(two, one.slice()))[1]).toBe(first);
  expect(affinityKeys(pictures(two))[0]).not.toBe(first);
});

test.each([
  ["its beginning", changed(bytes(5_000), 3)],
  ["its middle", changed(bytes(5_000), 2_500)],
  ["its end", changed(bytes(5_000), 4_999)],
  ["its length", bytes(5_001)],
])("a picture that differs in %s has another key", (_, other) => {
  expect(affinityKeys(pictures(other))).not.toEqual(affinityKeys(pictures(bytes(5_000))));
});

test("a small picture is read as a whole", () => {
  for (const at of [0, 200, 400, 599]) {
    expect(affinityKeys(pictures(changed(bytes(600), at)))).not.toEqual(affinityKeys(pictures(bytes(600))));
  }
});

test("a video has one key, of all its frames in their order", () => {
  const [one, two] = [bytes(900), bytes(900, 1)];
  const key = affinityKeys(videoOf(one, two));
  expect(key).toHaveLength(1);
  expect(affinityKeys(videoOf(one.slice(), two.slice()))).toEqual(key);
  expect(affinityKeys(videoOf(two, one))).not.toEqual(key);
  expect(affinityKeys(videoOf(one))).not.toEqual(affinityKeys(pictures(one)));
});

test("a request without media has no keys, and no worker has a share of them", () => {
  expect(affinityKeys(submission())).toEqual([]);
  expect(new SeenMedia(10).share([])).toBe(0);
});

test("64 MiB of picture cost less than a millisecond", () => {
  const request = pictures(new Uint8Array(64 * 1024 * 1024));
  const times = Array.from({ length: 20 }, () => {
    const began = performance.now();
    affinityKeys(request);
    return performance.now() - began;
  });
  expect(Math.min(...times)).toBeLessThan(1);
});

test("a worker's share is the part of the media that it was sent", () => {
  const seen = new SeenMedia(10);
  expect(seen.share(["a"])).toBe(0);
  seen.saw(["a", "b"]);
  expect(seen.share(["a", "b"])).toBe(1);
  expect(seen.share(["a", "c", "d", "b"])).toBe(0.5);
});

test("what was not used for longest is forgotten first", () => {
  const seen = new SeenMedia(3);
  seen.saw(["a", "b", "c"]);
  seen.saw(["a"]);
  seen.saw(["d"]);
  const kept = ["a", "b", "c", "d"].filter((key) => seen.share([key]) === 1);
  expect(kept).toEqual(["a", "c", "d"]);
  seen.saw(["1", "2", "3", "4", "5"]);
  expect(["a", "1", "2", "3", "4", "5"].filter((key) => seen.share([key]) === 1)).toEqual(["3", "4", "5"]);
});
