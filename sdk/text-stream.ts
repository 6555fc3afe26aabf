import type { StreamEvent, StructuredEvent } from "./result.ts";

export interface EventIterator<Event> extends AsyncIterator<Event, undefined> {
  return(): Promise<IteratorResult<Event, undefined>>;
}

/** No generator: a generator's `return()` waits for the next event, and leaving has to free the worker at once. */
export function textsOf(
  events: EventIterator<StreamEvent | StructuredEvent<unknown>>,
): AsyncIterator<string, undefined> {
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
