import { GlimpseError } from "../protocol/errors.ts";
import type { CountMessage, DataFromWorker, GenerateMessage } from "../protocol/messages.ts";
import type { WorkerInfo } from "./events.ts";
import { affinityKeys } from "./requests/affinity.ts";
import type { Cost } from "./requests/cost.ts";
import { Delivery } from "./requests/delivery.ts";
import { type Loss, Suspicion, type Verdict } from "./requests/suspicion.ts";
import type { Ending, RequestEvent, Submission, SubmittedRequest } from "./transport.ts";

/** The ending of a request that was cancelled before a worker had it. */
export function cancelledEarly(queueMs: number): RequestEvent & { type: "done" } {
  return {
    type: "done",
    finishReason: "cancelled",
    usage: {
      promptTokens: 0,
      imageTokens: 0,
      cachedTokens: 0,
      cachedImageTokens: 0,
      thinkingTokens: 0,
      completionTokens: 0,
    },
    timing: { queueMs, preprocessMs: 0, prefillMs: 0, decodeMs: 0 },
    worker: undefined,
    resumed: 0,
  };
}

/** How the next worker goes on with what a lost one has begun. */
export type Continuation = "after the tokens" | "from the start";

/** What a request needs of whoever holds it. */
export interface RequestHolder {
  /** Takes it out of the queue, or asks the worker that has it to stop. */
  release(request: Request): void;
}

/** One request from its acceptance to its one ending, whatever becomes of the workers that have it. */
export class Request implements SubmittedRequest {
  readonly id: string;
  readonly submission: Submission;
  /** Counts requests in the order of their acceptance. */
  readonly sequence: number;
  readonly cost: Cost;
  readonly #onEvent: (event: RequestEvent) => void;
  readonly #holder: RequestHolder;
  readonly #suspicion = new Suspicion();
  readonly #queueTimer: NodeJS.Timeout | undefined;
  readonly #warned = new Set<string>();
  #delivery = new Delivery();
  #state: "queued" | "on board" | "ended" = "queued";
  #cancelled = false;
  #attempt = -1;
  #tokensBefore = 0;
  #queuedAt = performance.now();
  #queueMs = 0;
  #position: number | undefined;
  #prompt = { promptTokens: 0, imageTokens: 0 };
  #mediaKeys: readonly string[] | undefined;

  constructor(
    submission: Submission,
    { sequence, cost }: { sequence: number; cost: Cost },
    onEvent: (event: RequestEvent) => void,
    holder: RequestHolder,
  ) {
    this.id = submission.id;
    this.submission = submission;
    this.sequence = sequence;
    this.cost = cost;
    this.#onEvent = onEvent;
    this.#holder = holder;
    const { queueTimeoutMs } = submission;
    if (queueTimeoutMs !== undefined) this.#queueTimer = setTimeout(() => this.#expire(queueTimeoutMs), queueTimeoutMs);
  }

  get state(): "queued" | "on board" | "ended" {
    return this.#state;
  }

  /** Whether it must have a worker for itself. */
  get alone(): boolean {
    return this.#suspicion.suspect;
  }

  /** How many workers were lost with it on board. */
  get losses(): number {
    return this.#suspicion.losses;
  }

  get attempt(): number {
    return this.#attempt;
  }

  /** Of which pictures it asks, one key for each. */
  get mediaKeys(): readonly string[] {
    this.#mediaKeys ??= affinityKeys(this.submission);
    return this.#mediaKeys;
  }

  /** How many tokens its caller has. */
  get tokenCount(): number {
    return this.#delivery.ids.length;
  }

  /** The header for a worker; the request counts as on board from here on. */
  board(): GenerateMessage | CountMessage {
    clearTimeout(this.#queueTimer);
    this.#state = "on board";
    this.#queueMs += performance.now() - this.#queuedAt;
    this.#attempt += 1;
    this.#tokensBefore = this.tokenCount;
    // Last: who hears of it may cancel at once.
    this.#tellPosition(0);
    const { messages, media, options, count } = this.submission;
    if (count) return { type: "count", request: this.id, attempt: this.#attempt, messages, media };
    const generated = this.#delivery.resumesAfter;
    return {
      type: "generate",
      request: this.id,
      attempt: this.#attempt,
      ...(generated.length > 0 && { generated: [...generated] }),
      messages,
      media,
      options,
    };
  }

  /** Tells the caller how many requests are ahead, if that has changed. */
  moveTo(position: number): void {
    if (this.#state === "queued") this.#tellPosition(position);
  }

  #tellPosition(position: number): void {
    if (this.#position === position) return;
    this.#position = position;
    this.#onEvent({ type: "queued", position });
  }

  cancel(): void {
    if (this.#state === "ended") return;
    this.#cancelled = true;
    const wasQueued = this.#state === "queued";
    this.#holder.release(this);
    if (wasQueued) this.#endCancelled();
  }

  prepared({ promptTokens, imageTokens }: DataFromWorker & { type: "prepared" }): void {
    this.#prompt = { promptTokens, imageTokens };
  }

  /**
   * Passes on what the caller does not have yet.
   * @throws GlimpseError PROTOCOL_ERROR when a token is missing or comes twice.
   */
  tokens(item: (DataFromWorker & { type: "tokens" })["items"][number]): void {
    if (this.#state !== "on board") return;
    const news = this.#delivery.take(this.id, item);
    if (news === "differs") return this.#failDiffering();
    if (news.ids.length > 0 || news.parts.length > 0) this.#onEvent({ type: "tokens", ...news });
  }

  warning({ code, message, media }: DataFromWorker & { type: "warning" }): void {
    const key = `${code} ${media} ${message}`;
    // A later attempt says it again.
    if (this.#state === "ended" || this.#warned.has(key)) return;
    this.#warned.add(key);
    this.#onEvent({ type: "warning", code, message, media });
  }

  done({ finishReason, usage, timing }: DataFromWorker & { type: "done" }, worker: WorkerInfo): void {
    if (this.#delivery.isBehind && finishReason !== "cancelled") return this.#failDiffering();
    const queueMs = timing.queueMs + this.#queueMs;
    const decodeMs = timing.decodeMs + this.#delivery.lostMs;
    this.#end({
      type: "done",
      finishReason,
      usage,
      timing: { ...timing, queueMs, decodeMs },
      worker,
      resumed: this.#attempt,
    });
  }

  counted({ request: _, attempt: __, ...counted }: DataFromWorker & { type: "counted" }): void {
    this.#end(counted);
  }

  fail(error: GlimpseError, media?: number): void {
    this.#end({ type: "error", error, media });
  }

  /** The worker that had it is no more. Returns what is to become of it; it has ended already if it was cancelled. */
  lost(loss: Omit<Loss, "progressed">): Verdict {
    const verdict = this.#suspicion.lost({ ...loss, progressed: this.tokenCount > this.#tokensBefore });
    if (this.#state === "on board" && this.#cancelled) this.#endCancelled();
    return verdict;
  }

  /** Back to the queue. */
  giveBack(continuation: Continuation): void {
    this.#delivery.interrupt(continuation === "after the tokens");
    this.#state = "queued";
    this.#queuedAt = performance.now();
    this.#position = undefined;
  }

  #expire(milliseconds: number): void {
    if (this.#state === "ended") return;
    const error = new GlimpseError("TIMEOUT", `queueTimeoutMs: no worker was free within ${milliseconds} ms`, {
      hint: "Allow more time, send fewer requests at once, or add workers.",
    });
    this.#holder.release(this);
    this.fail(error);
  }

  #failDiffering(): void {
    this.#holder.release(this);
    this.fail(
      new GlimpseError("WORKER_LOST", "the worker was lost, and the next one began a different answer", {
        hint: 'Only engine "paged" can go on in the middle of a sampled answer.',
      }),
    );
  }

  /** Nobody is left who could tell the usage: it is what is known here. */
  #endCancelled(): void {
    const ending = cancelledEarly(this.#queueMs + (this.#state === "queued" ? performance.now() - this.#queuedAt : 0));
    const usage = { ...ending.usage, ...this.#prompt, completionTokens: this.tokenCount };
    this.#end({ ...ending, usage, resumed: Math.max(0, this.#attempt) });
  }

  #end(ending: Ending): void {
    if (this.#state === "ended") return;
    this.#state = "ended";
    clearTimeout(this.#queueTimer);
    this.#onEvent(ending);
  }
}
