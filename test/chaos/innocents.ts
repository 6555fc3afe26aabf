import type { Pool } from "./pool.ts";
import { type Answer, defects, type Recorded } from "./recorded.ts";

/** Requests that no worker dies of, and what each answers when nothing breaks. */
export class Innocents {
  readonly all: Recorded[] = [];
  readonly #pool: Pool;
  readonly #answers = new Map<string, Answer>();

  constructor(pool: Pool) {
    this.#pool = pool;
  }

  /** Asks the undisturbed pool for the right answers. */
  async learn(scripts: readonly string[]): Promise<void> {
    const requests = scripts.map((script) => this.#pool.play(script));
    for (const request of requests) {
      const ending = await request.ended;
      if (ending.type !== "done")
        throw new Error(`${request.what} failed with nothing broken: ${ending.error.message}`);
      this.#answers.set(request.what, request.answer);
    }
  }

  submit(script: string): Recorded {
    const request = this.#pool.play(script);
    this.all.push(request);
    return request;
  }

  /** Some for each worker, half a second long. */
  fill(): Recorded[] {
    return Array.from({ length: 2 * this.#pool.transport.workers().length }, () => this.submit("slow 5"));
  }

  /** All that is wrong with the requests so far, each of which must have ended. */
  async defects(): Promise<string[]> {
    await Promise.all(this.all.map(({ ended }) => ended));
    return this.all.flatMap((request) => {
      const answer = this.#answers.get(request.what);
      if (answer === undefined) throw new Error(`the right answer to ${request.what} was not learnt`);
      return defects(request, answer);
    });
  }
}
