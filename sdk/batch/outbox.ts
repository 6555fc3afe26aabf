type Reader<Ending> = {
  resolve: (next: IteratorResult<Ending, undefined>) => void;
  reject: (error: unknown) => void;
};

/** Endings on their way to who reads them: in the order of their `index`, or as they came. */
export class Outbox<Ending extends { index: number }> {
  readonly #ordered: boolean;
  /** In the order in which they came. */
  readonly #unread = new Map<number, Ending>();
  readonly #readers: Reader<Ending>[] = [];
  #over: { error?: unknown } | undefined;
  /** How many were given to a reader. */
  given = 0;

  constructor(order: "input" | "completed") {
    this.#ordered = order === "input";
  }

  get isEmpty(): boolean {
    return this.#unread.size === 0;
  }

  put(ending: Ending): void {
    this.#unread.set(ending.index, ending);
    this.#deliver();
  }

  next(): Promise<IteratorResult<Ending, undefined>> {
    return new Promise((resolve, reject) => {
      this.#readers.push({ resolve, reject });
      this.#deliver();
    });
  }

  /** Nothing more is given: readers see the end, or `error`. The first call counts. */
  close(why: { error?: unknown }): void {
    this.#over ??= why;
    this.#unread.clear();
    this.#deliver();
  }

  #deliver(): void {
    while (this.#readers.length > 0) {
      const next = this.#next();
      if (next === undefined && this.#over === undefined) return;
      const reader = this.#readers.shift();
      if (next !== undefined) reader?.resolve({ done: false, value: next });
      else if (this.#over !== undefined && "error" in this.#over) reader?.reject(this.#over.error);
      else reader?.resolve({ done: true, value: undefined });
    }
  }

  #next(): Ending | undefined {
    const [first] = this.#unread.values();
    const next = this.#ordered ? this.#unread.get(this.given) : first;
    if (next === undefined) return undefined;
    this.#unread.delete(next.index);
    this.given += 1;
    return next;
  }
}
