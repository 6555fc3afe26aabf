import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { Packr } from "msgpackr";
import { Dealer } from "zeromq";
import { type GenerateMessage, type StartMessage, startSchema } from "../../protocol/messages.ts";

const packr = new Packr({ useRecords: false, variableMapSize: true });

/** As a worker packs, but anything. */
export function pack(value: unknown): Buffer {
  return packr.pack(value);
}

export const hello = ({ protocol, generation, token }: StartMessage) => ({
  type: "hello",
  protocol,
  generation,
  token,
  pid: 1,
});

const limits = { patchSize: 14, mergeSize: 2, temporalPatchSize: 2, minPixels: 12_544, maxPixels: 9_633_792 };
export const ready = {
  type: "ready",
  model: "scripted",
  engine: "scripted",
  dtype: "auto",
  device: { kind: "cpu", id: "cpu", name: "none" },
  slots: 4,
  contextLength: 65_536,
  imageLimits: limits,
  videoLimits: limits,
  stopTokenIds: [256],
  versions: {},
};
export const heartbeat = {
  type: "heartbeat",
  phase: "idle",
  steps: 0,
  ageMs: 0,
  running: 0,
  waiting: 0,
  memory: { process: 1 },
};

/** A socket that takes any number of messages at once and sends them one by one. */
export class Line {
  readonly #socket = new Dealer({ linger: 0 });
  #sent: Promise<void> = Promise.resolve();

  constructor(endpoint: string) {
    this.#socket.connect(endpoint);
  }

  /** Resolves when libzmq has it. What is no Buffer, or several of them, is packed. */
  send(message: unknown): Promise<void> {
    const isRaw = Buffer.isBuffer(message) || (Array.isArray(message) && message.every(Buffer.isBuffer));
    const frames = isRaw ? (message as Buffer | Buffer[]) : pack(message);
    this.#sent = this.#sent
      .then(() => this.#socket.send(frames))
      .catch(() => {
        // It was closed meanwhile.
        if (!this.#socket.closed) throw new Error("the message could not be sent");
      });
    return this.#sent;
  }

  /** The header of the next message. */
  async receive(): Promise<unknown> {
    const [header] = await this.#socket.receive();
    return packr.unpack(header as Buffer);
  }

  close(): void {
    this.#socket.close();
  }
}

/** What the orchestrator takes for a worker: its process does nothing, and the test speaks in its place. */
export class Impostor {
  readonly start: StartMessage;
  readonly control: Line;
  readonly data: Line;
  #beating: NodeJS.Timeout | undefined;

  constructor(start: StartMessage) {
    this.start = start;
    this.control = new Line(start.control);
    this.data = new Line(start.data);
  }

  /** Comes to where requests are taken, and stays well until `leave`. */
  async serve(): Promise<void> {
    await this.control.send(hello(this.start));
    await this.control.send(ready);
    this.#beating = setInterval(() => void this.control.send(heartbeat), 100);
  }

  /** The next request. */
  async request(): Promise<{ request: string; attempt: number }> {
    const { request, attempt } = await this.generate();
    return { request, attempt };
  }

  /** The whole of it. */
  async generate(): Promise<GenerateMessage> {
    return (await this.data.receive()) as GenerateMessage;
  }

  tokens(key: { request: string; attempt: number }, index: number, ids: readonly number[]): Promise<void> {
    const text = String.fromCharCode(...ids);
    const item = { request: key.request, attempt: key.attempt, index, ids, parts: [{ kind: "text", text }] };
    return this.data.send({ type: "tokens", items: [item] });
  }

  done(key: { request: string; attempt: number }, completionTokens: number): Promise<void> {
    const usage = { promptTokens: 1, imageTokens: 0, cachedTokens: 0, cachedImageTokens: 0, thinkingTokens: 0 };
    const timing = { queueMs: 0, preprocessMs: 0, prefillMs: 0, decodeMs: 0 };
    const { request, attempt } = key;
    const message = { type: "done", request, attempt, finishReason: "stop", timing };
    return this.data.send({ ...message, usage: { ...usage, completionTokens } });
  }

  leave(): void {
    clearInterval(this.#beating);
    this.control.close();
    this.data.close();
  }
}

/** A `python` that hands every start line to the test, and lives until its stdin ends. */
export class Impostors {
  readonly python: string;
  readonly #folder = mkdtempSync(join(tmpdir(), "impostors-"));
  readonly #all: Impostor[] = [];

  constructor() {
    const line = join(this.#folder, "line-$$");
    this.python = join(this.#folder, "python");
    const script = `#!/bin/sh\nread -r line\nprintf '%s' "$line" > "${line}.part"\nmv "${line}.part" "${line}"\nexec cat > /dev/null\n`;
    writeFileSync(this.python, script, { mode: 0o755 });
  }

  /** Resolves when the next process has started. */
  async next(): Promise<Impostor> {
    for (;;) {
      const name = readdirSync(this.#folder).find((name) => /^line-\d+$/.test(name));
      if (name !== undefined) return this.#enter(join(this.#folder, name));
      await delay(2);
    }
  }

  #enter(file: string): Impostor {
    const impostor = new Impostor(startSchema.parse(JSON.parse(readFileSync(file, "utf8"))));
    rmSync(file);
    this.#all.push(impostor);
    return impostor;
  }

  leave(): void {
    for (const impostor of this.#all.splice(0)) impostor.leave();
  }
}
