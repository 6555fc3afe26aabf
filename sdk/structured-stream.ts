import { GlimpseError } from "../protocol/errors.ts";
import { structured } from "./output/answer.ts";
import { PartialJson } from "./output/partial-json.ts";
import type { OutputSchema } from "./output/schema.ts";
import type { StructuredInput } from "./request/input.ts";
import type { CancelledResult, PartialOutput, StreamEvent, StructuredEvent, StructuredResult } from "./result.ts";
import { GenerationStream, type RequestContext } from "./stream.ts";
import { type EventIterator, textsOf } from "./text-stream.ts";

/** A running request whose answer is held to a schema; otherwise as GenerationStream. */
export class StructuredStream<Output, Input = Output> implements AsyncIterable<StructuredEvent<Output, Input>> {
  /**
   * As that of GenerationStream, with `output`. Rejects with OUTPUT_INVALID when the tokens were used up before the JSON
   * was complete, when a number is larger than JavaScript can hold, or when the schema refuses what no grammar can
   * express; `partial` has the text, `issues` says why.
   */
  readonly result: Promise<StructuredResult<Output> | CancelledResult>;
  readonly #stream: GenerationStream;

  constructor(input: StructuredInput<OutputSchema>, context: RequestContext) {
    const { output } = input;
    const { observer, stack } = context;
    // How it ends is for the schema to say.
    this.#stream = new GenerationStream(input, { ...context, observer: { ...observer, finished: () => {} } });
    this.result = this.#stream.result.then(async (result) => {
      const { requestId } = result;
      const completed = await structured<Output>(result, output);
      if (!(completed instanceof GlimpseError)) {
        observer.finished({ requestId, result: completed });
        return completed;
      }
      stack.showIn(completed);
      observer.failed({ requestId, error: completed });
      throw completed;
    });
    // Who only iterates sees the error in the loop.
    this.result.catch(() => {});
  }

  /** Frees the worker. `result` resolves with what there is, unless the request has ended already. */
  cancel(): void {
    this.#stream.cancel();
  }

  /** The JSON as it is written, piece by piece; otherwise as that of GenerationStream. */
  get textStream(): AsyncIterable<string> {
    return { [Symbol.asyncIterator]: () => textsOf(this[Symbol.asyncIterator]()) };
  }

  [Symbol.asyncIterator](): EventIterator<StructuredEvent<Output, Input>> {
    const events = this.#events(this.#stream[Symbol.asyncIterator]());
    return {
      next: () => events.next(),
      return: () => {
        // At once, also while `next` waits for the worker.
        this.cancel();
        return events.return(undefined);
      },
    };
  }

  /** Cancels what has not ended, and resolves when it has; never rejects. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.#stream[Symbol.asyncDispose]();
  }

  /** The JSON is read when its text is, so that a slow reader leaves no more of it unread than of the text. */
  async *#events(
    source: AsyncIterator<StreamEvent, undefined>,
  ): AsyncGenerator<StructuredEvent<Output, Input>, undefined> {
    const json = new PartialJson();
    for (;;) {
      const { done, value: event } = await source.next();
      if (done) return;
      switch (event.type) {
        case "text": {
          yield event;
          json.push(event.text);
          const partial = json.grown();
          if (partial !== undefined) yield { type: "output", partial: partial as PartialOutput<Input> };
          break;
        }
        case "finish":
          yield { type: "finish", result: await this.result };
          break;
        default:
          yield event;
      }
    }
  }
}
