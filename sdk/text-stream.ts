import type { StreamEvent } from "./result.ts";

export interface EventIterator extends AsyncIterator<StreamEvent, undefined> {
  return(): Promise<IteratorResult<StreamEvent, undefined>>;
}

/** No generator: a generator's `return()` waits for the next event, and leaving has to free the worker at once. */
export function textsOf(events: EventIterator): AsyncIterator<string, undefined> {
  return {
    next: async () => {
      for (;;) {
        const { done, value } = await events.next();
        if (done) return { done, value };
        if (value.type === "text") return { done: false, value: value.text };
      }
    },
    return: async () => {
      await events.return();
      return { done: true, value: undefined };
    },
  };
}
