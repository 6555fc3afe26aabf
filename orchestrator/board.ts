import type { WorkerInfo } from "./events.ts";
import type { Request } from "./request.ts";
import { SeenMedia } from "./requests/affinity.ts";
import { type Cost, outstanding } from "./requests/cost.ts";
import type { Candidate } from "./requests/route.ts";

/** How many bytes of pictures may be on their way to one worker, or in it and not yet read. */
const MEDIA_CREDIT = 256 * 1024 * 1024;
/** Of how many pictures a worker is remembered to have seen them; its own cache is bounded by memory. */
const SEEN_MEDIA = 2_000;

interface Passenger {
  request: Request;
  cost: Cost;
  prepared: boolean;
}

/** What is on board of one worker, and what that costs it. */
export class Board {
  readonly #passengers = new Map<string, Passenger>();
  #seen = new SeenMedia(SEEN_MEDIA);

  get isEmpty(): boolean {
    return this.#passengers.size === 0;
  }

  get size(): number {
    return this.#passengers.size;
  }

  enter(request: Request, keys: readonly string[]): void {
    this.#passengers.set(request.id, { request, cost: request.cost, prepared: false });
    this.#seen.saw(keys);
  }

  has(request: Request): boolean {
    return this.#passengers.get(request.id)?.request === request;
  }

  requests(): Request[] {
    return [...this.#passengers.values()].map(({ request }) => request);
  }

  /** The request that a message of the worker means; undefined for one of the past. */
  find({ request, attempt }: { request: string; attempt: number }): Request | undefined {
    const found = this.#passengers.get(request)?.request;
    return found?.attempt === attempt ? found : undefined;
  }

  /** Its media were read: their bytes are no longer in flight, and its true size is known. */
  prepared({ request, promptTokens }: { request: string; promptTokens: number }): void {
    const passenger = this.#passengers.get(request);
    if (passenger === undefined) return;
    passenger.prepared = true;
    passenger.cost = { ...passenger.cost, promptTokens };
  }

  leave(id: string): void {
    this.#passengers.delete(id);
  }

  /** Takes everything off board; the worker is no more, and what it has seen with it. */
  clear(): Request[] {
    const requests = this.requests();
    this.#passengers.clear();
    this.#seen = new SeenMedia(SEEN_MEDIA);
    return requests;
  }

  candidate(id: string, slots: number, keys: readonly string[]): Candidate {
    const { requests, tokens, mediaBytes } = this.load();
    // Who must be alone stays alone.
    const free = this.requests().some((request) => request.alone) ? 0 : slots - requests;
    const share = this.#seen.share(keys);
    const mediaRoom = mediaBytes === 0 ? Number.POSITIVE_INFINITY : MEDIA_CREDIT - mediaBytes;
    return { id, free, outstanding: tokens, mediaRoom, onBoard: requests, share };
  }

  load(): WorkerInfo["load"] {
    let [tokens, mediaBytes] = [0, 0];
    for (const { request, cost, prepared } of this.#passengers.values()) {
      tokens += outstanding(cost, request.tokenCount, prepared);
      if (!prepared) mediaBytes += cost.mediaBytes;
    }
    return { requests: this.#passengers.size, tokens, mediaBytes };
  }

  running(): { request: string; tokens: number }[] {
    return [...this.#passengers.values()].map(({ request }) => ({ request: request.id, tokens: request.tokenCount }));
  }
}
