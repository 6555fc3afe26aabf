import { GlimpseError } from "../protocol/errors.ts";
import type { Request } from "./request.ts";
import { RequestQueue } from "./requests/queue.ts";
import { type Candidate, route } from "./requests/route.ts";
import type { Slot } from "./slot.ts";

/** How often those that wait hear of their places at most: whoever leaves moves all of them. */
const PLACES_EVERY_MS = 50;

/** Those that wait for a worker, and which worker gets whom. */
export class Dispatcher {
  readonly #slots: readonly Slot[];
  readonly #queue: RequestQueue<Request>;
  readonly #onEmpty: () => void;
  /** A worker that gets nothing more until it is empty, for a request that must have it for itself. */
  #reserved: { slot: Slot; by: Request } | undefined;
  #due = false;
  #placesDue = false;
  #placesTold = Number.NEGATIVE_INFINITY;

  /** `onEmpty` is called whenever nobody waits any more. */
  constructor(slots: readonly Slot[], queueLimit: number, onEmpty: () => void) {
    this.#slots = slots;
    this.#queue = new RequestQueue(queueLimit);
    this.#onEmpty = onEmpty;
  }

  get length(): number {
    return this.#queue.length;
  }

  /** `full`: it has neither a worker nor a place among those that wait. */
  admit(request: Request): "admitted" | "full" {
    if (this.#queue.length === 0 && this.#tryToBoard(request)) return "admitted";
    if (this.#queue.admit(request) === "full") return "full";
    this.dispatch();
    return "admitted";
  }

  giveBack(request: Request): void {
    this.#queue.giveBack(request);
    this.dispatchSoon();
  }

  remove(request: Request): void {
    if (!this.#queue.remove(request)) return;
    this.dispatchSoon();
    this.#tellPlaces();
  }

  /** Takes out all that wait. */
  clear(): Request[] {
    const requests = [...this.#queue];
    for (const request of requests) this.#queue.remove(request);
    return requests;
  }

  /** Once per turn of the event loop, for what comes in numbers. */
  dispatchSoon(): void {
    if (this.#due) return;
    this.#due = true;
    setImmediate(() => {
      this.#due = false;
      this.dispatch();
    });
  }

  dispatch(): void {
    for (const request of this.#queue) {
      // In the order of their acceptance; only who waits for a worker of its own is overtaken.
      if (!this.#tryToBoard(request) && !request.alone) break;
    }
    if (this.#queue.length === 0) this.#onEmpty();
    else this.#tellPlaces();
  }

  #tryToBoard(request: Request): boolean {
    const slot = this.#slotFor(request);
    if (slot === undefined) return false;
    this.#queue.remove(request);
    try {
      slot.take(request, this.#keys(request));
    } catch (error) {
      if (!GlimpseError.is(error)) throw error;
      request.fail(error);
    }
    return true;
  }

  #slotFor(request: Request): Slot | undefined {
    const { alone, cost } = request;
    const reserved = this.#reservedSlot();
    const keys = this.#keys(request);
    const open = this.#slots.filter((slot) => alone || slot !== reserved);
    const candidates = open.map((slot) => slot.candidate(keys)).filter((slot) => slot !== undefined);
    const id = route({ tokens: cost.promptTokens, mediaBytes: cost.mediaBytes, alone }, candidates);
    if (id === undefined && alone) this.#reserve(request, candidates);
    return this.#slots.find((slot) => slot.id === id);
  }

  /** The worker that will be empty first, and the same one until it is. */
  #reserve(by: Request, candidates: readonly Candidate[]): void {
    const reserved = this.#reservedSlot();
    if (candidates.some(({ id }) => id === reserved?.id)) return;
    const [least] = [...candidates].sort((one, other) => one.outstanding - other.outstanding);
    const slot = this.#slots.find((slot) => slot.id === least?.id);
    this.#reserved = slot && { slot, by };
  }

  /** It is kept only as long as somebody waits for it. */
  #reservedSlot(): Slot | undefined {
    return this.#reserved?.by.state === "queued" ? this.#reserved.slot : undefined;
  }

  #keys(request: Request): readonly string[] {
    return this.#slots.length === 1 ? [] : request.mediaKeys;
  }

  #tellPlaces(): void {
    if (this.#placesDue) return;
    this.#placesDue = true;
    const tell = (): void => {
      this.#placesDue = false;
      this.#placesTold = performance.now();
      let position = this.#slots.reduce((sum, slot) => sum + slot.board.size, 0);
      for (const request of this.#queue) request.moveTo(position++);
    };
    const waitMs = this.#placesTold + PLACES_EVERY_MS - performance.now();
    if (waitMs > 0) setTimeout(tell, waitMs).unref();
    else setImmediate(tell);
  }
}
