import { randomUUID } from "node:crypto";
import type { RequestEvent, Submission, SubmittedRequest, Transport } from "../../orchestrator/transport.ts";

export type Ending = Extract<RequestEvent, { type: "done" | "error" }>;

/** What an undisturbed run of a request gives. */
export interface Answer {
  ids: readonly number[];
  /** Every part's text, tags included. */
  raw: string;
}

/** One request with everything that has become of it. */
export class Recorded {
  readonly id: string;
  readonly what: string;
  readonly events: RequestEvent[] = [];
  /** Resolves with the first ending. */
  readonly ended: Promise<Ending>;
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
    this.#request.cancel();
  }

  get ids(): readonly number[] {
    return this.#ids;
  }

  get raw(): string {
    const parts = this.events.flatMap((event) => (event.type === "tokens" ? event.parts : []));
    return parts.map((part) => (part.kind === "box" ? "" : part.text)).join("");
  }

  get ending(): Ending | undefined {
    return this.events.find((event) => event.type === "done" || event.type === "error") as Ending | undefined;
  }

  get answer(): Answer {
    return { ids: this.ids, raw: this.raw };
  }
}

/** What is wrong with how a request ended; empty when nothing is. */
export function defects(request: Recorded, expected: Answer): string[] {
  const { events, ending, ids, raw } = request;
  const found: string[] = [];
  const endings = events.filter((event) => event.type === "done" || event.type === "error");
  if (endings.length !== 1) found.push(`${endings.length} endings: ${endings.map(inWords).join(", ")}`);
  if (ending !== undefined && events.at(-1) !== ending) found.push("events after the ending");
  if (ending?.type !== "done") found.push(`expected an answer, got ${ending && inWords(ending)}`);
  if (ending?.type === "done" && ending.usage.completionTokens !== ids.length) {
    found.push(`${ids.length} tokens came, its usage says ${ending.usage.completionTokens}`);
  }
  if (ids.join() !== expected.ids.join()) found.push(`ids: expected ${expected.ids.join()}, got ${ids.join()}`);
  if (raw !== expected.raw) found.push(`text: expected ${expected.raw}, got ${raw}`);
  return found.map((defect) => `${request.what} (${request.id}): ${defect}`);
}

export function inWords(ending: Ending): string {
  return ending.type === "done" ? ending.finishReason : `${ending.error.code}: ${ending.error.message}`;
}
