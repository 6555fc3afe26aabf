/**
 * From the engine's emit to the caller's loop, per token, beside a bare message of the same size:
 *
 *     npx tsx bench/bridge/tokens.ts [--tokens 100] [--repetitions 21] [--pause-ms 5]
 *
 * The worker is the shipped process on an engine that gives a token each pause and notes when. The bare message goes
 * from a DEALER of pyzmq to one of zeromq.js over a socket of the same kind, with the same pauses.
 */
import { parseArgs } from "node:util";
import type { Dealer } from "zeromq";
import type { Glimpse } from "../../sdk/client.ts";
import { percentile, print, ratio, row } from "./figures.ts";
import { startBare, startPool } from "./peers.ts";
import { now, type Stamps } from "./stamps.ts";

/** What one message with a token of this engine has on the wire. */
const MESSAGE_BYTES = 120;
const TOKEN_CHARACTERS = " word".length;
/** The bare time is that of the system's own wake-ups. */
const TARGET = { most: 1.5 };

/** Microseconds of each token on its way through the worker, the orchestrator and the SDK. */
async function throughSdk(glm: Glimpse, tokens: number, pauseMs: number): Promise<number[]> {
  const command = JSON.stringify({ tokens, pause_s: pauseMs / 1000 });
  const seen: number[] = [];
  for await (const event of glm.stream({ messages: [{ role: "user", content: command }] })) {
    const at = now();
    if (event.type !== "text") continue;
    if (event.text.startsWith("{")) return oneWay(JSON.parse(event.text), seen);
    // Tokens that came together are one piece of text.
    for (let count = event.text.length / TOKEN_CHARACTERS; count > 0; count--) seen.push(at);
  }
  throw new Error("the answer ended without its stamps");
}

async function bare(socket: Dealer, tokens: number, pauseMs: number): Promise<number[]> {
  await socket.send(JSON.stringify({ tokens, pause_s: pauseMs / 1000, bytes: MESSAGE_BYTES }));
  const seen: number[] = [];
  for await (const [frame] of socket) {
    const at = now();
    if (frame === undefined) throw new Error("a message without a frame");
    if (seen.length === tokens) return oneWay(JSON.parse(frame.toString()), seen);
    seen.push(at);
  }
  throw new Error("the bare peer has gone");
}

function oneWay({ emitted }: Stamps, seen: readonly number[]): number[] {
  if (seen.length !== emitted.length) throw new Error(`${emitted.length} tokens left, ${seen.length} came`);
  return seen.map((at, index) => (at - (emitted[index] ?? Number.NaN)) / 1000);
}

const { values } = parseArgs({
  options: {
    tokens: { type: "string", default: "100" },
    repetitions: { type: "string", default: "21" },
    "pause-ms": { type: "string", default: "5" },
  },
});
const [tokens, repetitions, pauseMs] = [values.tokens, values.repetitions, values["pause-ms"]].map(Number) as [
  number,
  number,
  number,
];

await using peer = await startBare();
await using glm = await startPool("stamping");
const ours: number[][] = [];
const others: number[][] = [];
await throughSdk(glm, tokens, 1);
await bare(peer.socket, tokens, 1);
for (let turn = 0; turn < repetitions; turn++) {
  ours.push(await throughSdk(glm, tokens, pauseMs));
  others.push(await bare(peer.socket, tokens, pauseMs));
}
const at = (runs: readonly number[][], percent: number) => runs.map((run) => percentile(run, percent));
print(`one token each ${pauseMs} ms, ${tokens} in a row`, [
  row("from emit to the caller's loop, median", at(ours, 50), "µs"),
  row("bare message, median", at(others, 50), "µs"),
  ratio("over the bare message", at(ours, 50), at(others, 50), TARGET),
  row("from emit to the caller's loop, 99th percentile", at(ours, 99), "µs"),
  row("bare message, 99th percentile", at(others, 99), "µs"),
  ratio("over the bare message", at(ours, 99), at(others, 99)),
]);
