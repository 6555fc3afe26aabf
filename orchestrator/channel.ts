import { Dealer } from "zeromq";

/**
 * One end of a DEALER–DEALER pair, bound by us. zeromq.js refuses a second send while one is under way (EBUSY), so
 * everything passes through one outbox that is written in order.
 */
export class Channel {
  readonly #socket: Dealer;
  readonly #outbox: Uint8Array[][] = [];
  #writing = false;
  #closed = false;

  private constructor(socket: Dealer) {
    this.#socket = socket;
  }

  /** Binds `endpoint`; a peer that sends a larger frame than `maxMessageBytes` is disconnected by libzmq. */
  static async bind(endpoint: string, maxMessageBytes: number): Promise<Channel> {
    const socket = new Dealer({ linger: 0, maxMessageSize: maxMessageBytes });
    await socket.bind(endpoint);
    return new Channel(socket);
  }

  /** Queues a message and returns at once. The frames must not change afterwards: they are not copied. */
  send(frames: Uint8Array[]): void {
    this.#outbox.push(frames);
    if (!this.#writing) void this.#write();
  }

  async #write(): Promise<void> {
    this.#writing = true;
    try {
      for (let frames = this.#outbox.shift(); frames !== undefined; frames = this.#outbox.shift()) {
        if (!(await this.#hasLeft(frames))) this.#outbox.unshift(frames);
      }
    } catch (error) {
      // Closing the socket rejects the send under way; who closes a channel knows what is lost with it.
      if (!this.#closed) throw error;
    } finally {
      this.#writing = false;
    }
  }

  /** Waits for a peer; false when that one was gone before it had the message. */
  async #hasLeft(frames: Uint8Array[]): Promise<boolean> {
    try {
      await this.#socket.send(frames);
      return true;
    } catch (error) {
      if (this.#closed || !isWithoutPeer(error)) throw error;
      return false;
    }
  }

  /** The messages of the peer, until the channel is closed. */
  receive(): AsyncIterable<Uint8Array[]> {
    return this.#socket;
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#outbox.length = 0;
    this.#socket.close();
  }
}

/**
 * The peer left between the moment in which zeromq.js saw that it may send and the one in which it did. Nothing of the
 * message has gone.
 */
function isWithoutPeer(error: unknown): boolean {
  return error instanceof Error && "code" in error && error.code === "EAGAIN";
}
