import { randomUUID } from "node:crypto";
import type { RequestEvent, Submission, SubmittedRequest, Transport } from "../../orchestrator/transport.ts";

export type Ending = Extract<RequestEvent, { type: "done" | "error" }>;

/** What an undisturbed run of a request gives. */
export interface Answer {
  ids: readonly number[];
  /** The parts joined: text with its tags, and boxes. */
  raw: string;
}

/** One request with everything that has become of it. */
export class Recorded {
  readonly id: string;
  readonly what: string;
  readonly events: RequestEvent[] = [];
  /** Resolves with the first ending. */
  readonly ended: Promise<Ending>;
  cancelled = false;
  readonly #request: SubmittedRequest;
  readonly #waiting: { count: number; resolve: () => void }[] = [];
  #ids: number[] = [];
  #settle!: (ending: Ending) => void;

  /** `onChange` is called after every event. */
  constructor(transport: Transport, what: string, submission: Omit<Submission, "id">, onChange = () => {}) {
    this.what = what;
    this.id = randomUUID();
    this.ended = new Promise((resolve) => {
      this.#settle = resolve;
    });
    this.#request = transport.submit({ id: this.id, ...submission }, (event) => {
      this.#onEvent(event);
      onChange();
    });
  }

  #onEvent(event: RequestEvent): void {
    this.events.push(event);
    if (event.type === "tokens") this.#ids.push(...event.ids);
    if (event.type === "done" || event.type === "error") this.#settle(event);
    const all = event.type === "done" || event.type === "error";
    for (const { count, resolve } of this.#waiting) if (all || this.#ids.length >= count) resolve();
  }

  /** Resolves when `count` tokens have come, or the request has ended. */
  tokens(count: number): Promise<void> {
    return new Promise((resolve) => {
      this.#waiting.push({ count, resolve });
      if (this.#ids.length >= count || this.ending !== undefined) resolve();
    });
  }

  cancel(): void {
    this.cancelled = true;
    this.#request.cancel();
  }

  get ids(): readonly number[] {
    return this.#ids;
  }

  /** The parts joined: text with its tags, and boxes. */
  get raw(): string {
    const parts = this.events.flatMap((event) => (event.type === "tokens" ? event.parts : []));
    return parts.map((part) => (part.kind === "box" ? `{${part.image}: ${part.box}}` : part.text)).join("");
  }

  get ending(): Ending | undefined {
    return this.events.find((event) => event.type === "done" || event.type === "error") as Ending | undefined;
  }

  get answer(): Answer {
    return { ids: this.ids, raw: this.raw };
  }
}

/** What is wrong with a request that has ended; empty when nothing is. A cancelled one may have less than the answer. */
export function defects(request: Recorded, expected: Answer): string[] {
  const { events, ending, ids, raw } = request;
  const found: string[] = [];
  const endings = events.filter((event) => event.type === "done" || event.type === "error");
  if (endings.length !== 1) found.push(`${endings.length} endings: ${endings.map(inWords).join(", ")}`);
  if (events.at(-1) !== ending) found.push("events after the ending");
  if (ending?.type !== "done") {
    found.push(`expected an answer, got ${ending === undefined ? "nothing" : inWords(ending)}`);
  } else {
    const { completionTokens } = ending.usage;
    if (completionTokens !== ids.length) found.push(`${ids.length} tokens came, its usage says ${completionTokens}`);
    if (ending.finishReason === "cancelled" && !request.cancelled) found.push("cancelled by nobody");
    const partial = ending.finishReason === "cancelled";
    const due = partial ? expected.ids.slice(0, ids.length) : expected.ids;
    if (due.join() !== ids.join()) found.push(`ids: expected ${due.join()}, got ${ids.join()}`);
    if (partial ? !expected.raw.startsWith(raw) : raw !== expected.raw) {
      found.push(`text: expected ${expected.raw}, got ${raw}`);
    }
  }
  return found.map((defect) => `${request.what} (${request.id}): ${defect}`);
}

export function inWords(ending: Ending): string {
  return ending.type === "done" ? ending.finishReason : `${ending.error.code}: ${ending.error.message}`;
}
