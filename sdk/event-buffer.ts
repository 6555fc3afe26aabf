import type { StreamEvent } from "./result.ts";

type Waiting = { resolve: (next: IteratorResult<StreamEvent, undefined>) => void; reject: (error: unknown) => void };

/**
 * Stands between a worker, which never waits, and a reader, who may. Neighbouring pieces of text become one, so what a
 * slow reader leaves unread is bounded by the text of its own request.
 */
export class EventBuffer {
  readonly #unread: StreamEvent[] = [];
  readonly #waiting: Waiting[] = [];
  #end: { error: unknown } | "good" | undefined;

  push(event: StreamEvent): void {
    if (this.#end !== undefined) return;
    const waiting = this.#waiting.shift();
    if (waiting !== undefined) return waiting.resolve({ done: false, value: event });
    const last = this.#unread.at(-1);
    const joined = last && join(last, event);
    if (joined === undefined) this.#unread.push(event);
    else this.#unread[this.#unread.length - 1] = joined;
  }

  /** What is unread is read first; then the iteration ends. */
  end(): void {
    this.#end ??= "good";
    for (const { resolve } of this.#waiting.splice(0)) resolve({ done: true, value: undefined });
  }

  /** What is unread is read first; then the iteration throws. */
  fail(error: unknown): void {
    this.#end ??= { error };
    for (const { reject } of this.#waiting.splice(0)) reject(error);
  }

  next(): Promise<IteratorResult<StreamEvent, undefined>> {
    const event = this.#unread.shift();
    if (event !== undefined) return Promise.resolve({ done: false, value: event });
    if (this.#end === "good") return Promise.resolve({ done: true, value: undefined });
    if (this.#end !== undefined) return Promise.reject(this.#end.error);
    return new Promise((resolve, reject) => {
      this.#waiting.push({ resolve, reject });
    });
  }
}

function join(last: StreamEvent, event: StreamEvent): StreamEvent | undefined {
  if (last.type === "text" && event.type === "text") return { type: "text", text: last.text + event.text };
  if (last.type === "thinking" && event.type === "thinking") return { type: "thinking", text: last.text + event.text };
  if (last.type === "queued" && event.type === "queued") return event;
  return undefined;
}
