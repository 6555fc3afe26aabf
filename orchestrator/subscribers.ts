import type { WorkerEvent } from "./events.ts";

type Listener = (event: WorkerEvent) => void;

/** Those who want to hear of the workers. What a listener throws is its own: it keeps nothing from going on. */
export class Subscribers {
  readonly #listeners = new Set<{ listener: Listener }>();

  /** The function that is returned takes the listener away again. */
  add(listener: Listener): () => void {
    const entry = { listener };
    this.#listeners.add(entry);
    return () => this.#listeners.delete(entry);
  }

  tell(event: WorkerEvent): void {
    // Those of now: one that leaves hears nothing more, one that comes hears of the next.
    for (const entry of [...this.#listeners]) {
      if (!this.#listeners.has(entry)) continue;
      try {
        entry.listener(event);
      } catch (error) {
        queueMicrotask(() => {
          throw error;
        });
      }
    }
  }
}
