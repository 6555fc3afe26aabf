/**
 * A picture of 10 MB, from the write to Node's socket to the worker that receives it, beside a bare zero-copy frame:
 *
 *     npx tsx bench/bridge/picture.ts [--megabytes 10] [--repetitions 40]
 *
 * Both writes are noted where zeromq.js takes the frames, both receipts where pyzmq has given them to the program. How
 * long its hash takes, in Node and in the worker, is printed beside.
 */
import { createHash, randomBytes } from "node:crypto";
import { parseArgs } from "node:util";
import { Dealer } from "zeromq";
import type { Glimpse } from "../../sdk/client.ts";
import { print, ratio, row } from "./figures.ts";
import { type Bare, startBare, startPool } from "./peers.ts";
import { now, type Stamps } from "./stamps.ts";

const TARGET = { most: 1.5 };

/** The first bytes of a PNG: the SDK looks at no more of a picture. */
const PNG = Buffer.from("89504e470d0a1a0a", "hex");

/** When zeromq.js was last given more than one frame. */
let written = 0;
const send = Dealer.prototype.send;
Object.defineProperty(Dealer.prototype, "send", {
  value(this: Dealer, frames: Parameters<typeof send>[0]) {
    if (Array.isArray(frames) && frames.length > 1) written = now();
    return send.call(this, frames);
  },
});

interface Sent {
  /** Milliseconds from the write to the receipt, and from the call to the receipt. */
  written: number;
  called: number;
  hashed: number;
}

async function throughSdk(glm: Glimpse, picture: Uint8Array): Promise<Sent> {
  const called = now();
  const content = [
    { type: "image" as const, image: picture },
    { type: "text" as const, text: "{}" },
  ];
  const { text } = await glm.generate({ messages: [{ role: "user", content }] });
  return since(called, JSON.parse(text));
}

async function bare({ socket }: Bare, picture: Uint8Array): Promise<Sent> {
  const called = now();
  await socket.send(["{}", picture]);
  const [answer] = await socket.receive();
  return since(called, JSON.parse(String(answer)));
}

function since(called: number, { received, hashed }: Stamps): Sent {
  return { written: (received - written) / 1e6, called: (received - called) / 1e6, hashed: hashed / 1e6 };
}

function hashHere(picture: Uint8Array): number {
  const begun = now();
  createHash("sha256").update(picture).digest();
  return (now() - begun) / 1e6;
}

const { values } = parseArgs({
  options: { megabytes: { type: "string", default: "10" }, repetitions: { type: "string", default: "40" } },
});
const [megabytes, repetitions] = [Number(values.megabytes), Number(values.repetitions)];

await using peer = await startBare();
await using glm = await startPool("stamping");
const ours: Sent[] = [];
const others: Sent[] = [];
const hashes: number[] = [];
const warm = 3;
for (let turn = -warm; turn < repetitions; turn++) {
  // A new picture each time: nobody has it already.
  const picture = Buffer.concat([PNG, randomBytes(megabytes * 1e6 - PNG.length)]);
  const [one, other, hash] = [await throughSdk(glm, picture), await bare(peer, picture), hashHere(picture)];
  if (turn < 0) continue;
  ours.push(one);
  others.push(other);
  hashes.push(hash);
}
const writes = (sent: readonly Sent[]) => sent.map((it) => it.written);
print(`a picture of ${megabytes} MB`, [
  row("from the socket's write to the worker", writes(ours), "ms"),
  row("bare frame, from the write to pyzmq", writes(others), "ms"),
  ratio("over the bare frame", writes(ours), writes(others), TARGET),
  row(
    "from the call of generate() to the worker",
    ours.map((it) => it.called),
    "ms",
  ),
  row("its SHA-256 in Node", hashes, "ms"),
  row(
    "its key in the worker",
    ours.map((it) => it.hashed),
    "ms",
  ),
]);
