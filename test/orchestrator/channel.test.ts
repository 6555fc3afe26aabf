import { mkdtemp } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setImmediate as turn } from "node:timers/promises";
import { expect, test } from "vitest";
import { Dealer } from "zeromq";
import { Channel } from "../../orchestrator/channel.ts";

/** More than the 512 sends after which zeromq.js puts the next one off to another turn of the event loop. */
const MESSAGES = 600;

/** Numbered messages to a peer that leaves when the channel has seen that it may send, and before it has sent. */
async function deserted(): Promise<{ channel: Channel; endpoint: string }> {
  const endpoint = `ipc://${join(await mkdtemp(join(tmpdir(), "channel-")), "socket")}`;
  const channel = await Channel.bind(endpoint, 1_024);
  const peer = new Dealer({ linger: 0 });
  peer.connect(endpoint);
  channel.send([Buffer.from("hello")]);
  await peer.receive();
  for (let index = 0; index < MESSAGES; index += 1) channel.send([Buffer.from("number"), Buffer.from(`${index}`)]);
  // Each send takes a few microtasks.
  for (let index = 0; index < 10 * MESSAGES; index += 1) await undefined;
  peer.close();
  // Without a turn of the event loop, time for libzmq's own thread to take in that it has gone.
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 50);
  return { channel, endpoint };
}

test("a worker that leaves in the very moment of a send ends nothing here, and who comes after it gets the rest", async () => {
  const { channel, endpoint } = await deserted();
  const successor = new Dealer({ linger: 0, receiveTimeout: 5_000 });
  successor.connect(endpoint);
  const next = async () => (await successor.receive()).map(String);
  const first = Number((await next())[1]);
  expect(first).toBeGreaterThan(0);
  for (let index = first + 1; index < MESSAGES; index += 1) expect(await next()).toEqual(["number", `${index}`]);
  channel.send([Buffer.from("more")]);
  expect(await next()).toEqual(["more"]);
  successor.close();
  channel.close();
});

test("a channel that is closed while there is nobody to send to is closed, and takes nothing more", async () => {
  const { channel } = await deserted();
  await turn();
  channel.close();
  channel.send([Buffer.from("nobody")]);
  await turn();
});
