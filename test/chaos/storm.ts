import type { Fault } from "./faulty.ts";
import { type Pool, pidOf } from "./pool.ts";
import type { Random } from "./random.ts";
import { type Answer, defects, type Recorded } from "./recorded.ts";

/** A request that can be asked again and again, and what it answers when nothing breaks. */
export interface Question {
  ask(): Recorded;
  answer: Answer;
}

export interface StormOptions {
  questions: readonly Question[];
  /** At least so many are asked, `width` of them at once. */
  requests: number;
  width: number;
  /** One in so many is cancelled, at some token. */
  cancelOneIn: number;
  /** How many workers break, and in which ways. */
  breaks: number;
  faults: readonly Fault[];
}

export interface StormReport {
  defects: string[];
  requests: number;
  cancelled: number;
  breaks: number;
  tokens: number;
  /** How often a request was taken over by another worker, or began again there, and how many had to run alone. */
  resumed: number;
  restarted: number;
  suspected: number;
}

/** Asks and breaks in an order and at moments that `random` determines, and resolves when every request has ended. */
export async function playStorm(pool: Pool, random: Random, options: StormOptions): Promise<StormReport> {
  const storm = new Storm(pool, random, options);
  await storm.play();
  return storm.report();
}

class Storm {
  readonly #pool: Pool;
  readonly #random: Random;
  readonly #options: StormOptions;
  readonly #asked: { request: Recorded; answer: Answer }[] = [];
  #running = 0;
  #broken = 0;

  constructor(pool: Pool, random: Random, options: StormOptions) {
    this.#pool = pool;
    this.#random = random;
    this.#options = options;
  }

  async play(): Promise<void> {
    this.#ask();
    while (this.#broken < this.#options.breaks) await this.#break();
    while (this.#running > 0) await Promise.all(this.#asked.map(({ request }) => request.ended));
  }

  /** How many have been asked when the next worker breaks. */
  get #due(): number {
    return Math.ceil(((this.#broken + 1) * this.#options.requests) / (this.#options.breaks + 1));
  }

  #ask(): void {
    const { requests, width, breaks, questions, cancelOneIn } = this.#options;
    const isBreaking = this.#broken < breaks;
    // All have ended before the next worker could break with several on board: the storm begins anew.
    const isOver = isBreaking && this.#running === 0 && this.#asked.length >= this.#due;
    const most = isOver ? this.#asked.length + width : isBreaking ? this.#due + width : requests;
    while (this.#running < width && this.#asked.length < most) {
      const { ask, answer } = this.#random.pick(questions);
      const request = ask();
      this.#asked.push({ request, answer });
      this.#running += 1;
      if (this.#random.int(cancelOneIn) === 0) void this.#cancel(request, this.#random.int(answer.ids.length));
      void request.ended.then(() => {
        this.#running -= 1;
        this.#ask();
      });
    }
  }

  async #cancel(request: Recorded, afterTokens: number): Promise<void> {
    await request.tokens(afterTokens);
    request.cancel();
  }

  /** Breaks a worker with several requests on board: one that dies with a suspect alone convicts it, guilty or not. */
  async #break(): Promise<void> {
    await this.#pool.until(() => this.#asked.length >= this.#due);
    await this.#pool.until(() => this.#victims().length > 0);
    const moment = this.#tokens() + 1 + this.#random.int(40);
    await this.#pool.until(() => this.#victims().length > 0 && this.#tokens() >= moment);
    const pid = pidOf(this.#random.pick(this.#victims()));
    this.#pool.faulty.play(pid, this.#random.pick(this.#options.faults));
    await this.#pool.lossOf(pid);
    this.#broken += 1;
    this.#ask();
  }

  #victims() {
    return this.#pool.workersIn("ready").filter(({ load }) => load.requests > 1);
  }

  #tokens(): number {
    return this.#asked.reduce((sum, { request }) => sum + request.ids.length, 0);
  }

  report(): StormReport {
    const outcomes = this.#pool.events.flatMap((event) => (event.type === "request" ? event.outcome : []));
    const count = (wanted: string) => outcomes.filter((outcome) => outcome === wanted).length;
    return {
      defects: this.#asked.flatMap(({ request, answer }) => defects(request, answer)),
      requests: this.#asked.length,
      cancelled: this.#asked.filter(({ request }) => request.cancelled).length,
      breaks: this.#broken,
      tokens: this.#tokens(),
      resumed: count("resumed"),
      restarted: count("restarted"),
      suspected: count("suspected"),
    };
  }
}
