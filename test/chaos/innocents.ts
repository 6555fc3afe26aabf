import type { Pool } from "./pool.ts";
import { type Answer, defects, type Recorded } from "./recorded.ts";

/** Requests that no worker dies of, and what each answers when nothing breaks. */
export class Innocents {
  readonly #pool: Pool;
  readonly #maxNewTokens: number;
  readonly #answers = new Map<string, Answer>();
  #unchecked: Recorded[] = [];

  constructor(pool: Pool, { maxNewTokens }: { maxNewTokens: number }) {
    this.#pool = pool;
    this.#maxNewTokens = maxNewTokens;
  }

  /** Asks the undisturbed pool for the right answers. */
  async learn(scripts: readonly string[]): Promise<void> {
    for (const script of scripts) {
      const request = this.submit(script);
      const ending = await request.ended;
      if (ending.type !== "done") throw new Error(`${script} failed with nothing broken: ${ending.error.message}`);
      this.#answers.set(script, request.answer);
    }
  }

  submit(script: string): Recorded {
    const request = this.#pool.play(script, { maxNewTokens: this.#maxNewTokens });
    this.#unchecked.push(request);
    return request;
  }

  /** Two for each worker. */
  fill(script: string): Recorded[] {
    return Array.from({ length: 2 * this.#pool.transport.workers().length }, () => this.submit(script));
  }

  /** Waits for the endings of all that were submitted since the last call, and says what is wrong with them. */
  async defects(): Promise<string[]> {
    const requests = this.#unchecked;
    this.#unchecked = [];
    await Promise.all(requests.map(({ ended }) => ended));
    return requests.flatMap((request) => {
      const answer = this.#answers.get(request.what);
      if (answer === undefined) throw new Error(`the right answer to ${request.what} was not learnt`);
      return defects(request, answer);
    });
  }
}
