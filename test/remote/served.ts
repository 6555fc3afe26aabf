import { mkdtempSync, rmSync } from "node:fs";
import { connect, createServer, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { onTestFinished } from "vitest";
import { version } from "../../orchestrator/package-root.ts";
import { MessageReader, toBytes } from "../../orchestrator/remote/frames.ts";
import { RemoteServer } from "../../orchestrator/remote/server.ts";
import { RemoteTransport } from "../../orchestrator/remote/transport.ts";
import { decodeFromBackground, type FromBackground, REMOTE_PROTOCOL_VERSION } from "../../protocol/remote.ts";
import { FakeTransport } from "./fake-transport.ts";

export const token = "the-token";
export const hello = { type: "hello", protocol: REMOTE_PROTOCOL_VERSION, version, token };

/** A server in this process on a real socket, with workers that the test plays. */
export async function serve(options: { ready?: boolean } = {}) {
  const directory = mkdtempSync(join(tmpdir(), "glimpse-test-"));
  const path = join(directory, "socket");
  const shutdowns: boolean[] = [];
  const clients: number[] = [];
  const server = new RemoteServer({
    token,
    identity: { pid: process.pid, started: "2030-01-01T00:00:00.000Z", options: { model: "a model" } },
    onShutdown: (drain) => shutdowns.push(drain),
    onClients: (count) => clients.push(count),
  });
  const transport = new FakeTransport();
  if (options.ready ?? true) server.ready(transport);
  const sockets = new Set<Socket>();
  const listener = createServer((socket) => {
    sockets.add(socket);
    server.accept(socket);
  });
  await new Promise<void>((resolve) => listener.listen(path, resolve));
  onTestFinished(() => {
    for (const socket of sockets) socket.destroy();
    listener.close();
    rmSync(directory, { recursive: true, force: true });
  });
  return { server, transport, path, shutdowns, clients, sockets };
}

export async function open(path: string): Promise<RemoteTransport> {
  const { transport } = await RemoteTransport.open(path, token);
  onTestFinished(() => transport.close());
  return transport;
}

/** A client that sends what it likes, and reads only while it is not paused. */
export class RawClient {
  readonly socket: Socket;
  readonly received: FromBackground[] = [];
  readonly closed: Promise<void>;
  readonly #waiting: (() => void)[] = [];

  constructor(path: string) {
    this.socket = connect(path);
    const reader = new MessageReader(decodeFromBackground);
    this.socket.on("data", (chunk: Buffer) => {
      for (const { header } of reader.read(chunk)) this.received.push(header);
      for (const resolve of this.#waiting.splice(0)) resolve();
    });
    this.socket.on("error", () => {});
    this.closed = new Promise((resolve) => this.socket.once("close", () => resolve()));
  }

  send(message: object, frames: readonly Uint8Array[] = []): void {
    for (const bytes of toBytes(message, frames)) this.socket.write(bytes);
  }

  /** All that has come, as soon as a message for which `condition` holds is among it. */
  async until(condition: (message: FromBackground) => boolean): Promise<FromBackground[]> {
    while (!this.received.some(condition)) await new Promise<void>((resolve) => this.#waiting.push(resolve));
    return this.received;
  }
}
