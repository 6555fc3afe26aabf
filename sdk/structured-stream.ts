import { GlimpseError } from "../protocol/errors.ts";
import { PartialJson } from "./output/partial-json.ts";
import { type OutputSchema, validate } from "./output/schema.ts";
import type {
  CancelledResult,
  GenerateResult,
  PartialOutput,
  StreamEvent,
  StructuredEvent,
  StructuredResult,
} from "./result.ts";
import type { GenerationStream } from "./stream.ts";

/** A running request whose answer is held to a schema; otherwise as GenerationStream. */
export class StructuredStream<Output, Input = Output> implements AsyncIterable<StructuredEvent<Output, Input>> {
  /**
   * As that of GenerationStream, with `output`. Rejects with OUTPUT_INVALID when the tokens were used up before the JSON
   * was complete, or when the schema refuses what no grammar can express; `partial` has the text, `issues` says why.
   */
  readonly result: Promise<StructuredResult<Output> | CancelledResult>;
  readonly #stream: GenerationStream;

  constructor(stream: GenerationStream, schema: OutputSchema) {
    this.#stream = stream;
    // The stack of the call, as every error of the stream has.
    const calledFrom: { stack?: string } = {};
    Error.captureStackTrace(calledFrom, StructuredStream);
    this.result = stream.result.then(async (result) => {
      const completed = await complete<Output>(result, schema);
      if (!GlimpseError.is(completed)) return completed;
      const [, ...frames] = calledFrom.stack?.split("\n") ?? [];
      completed.stack = [`${completed.name}: ${completed.message}`, ...frames].join("\n");
      throw completed;
    });
    // Who only iterates sees the error in the loop.
    this.result.catch(() => {});
  }

  /** Frees the worker. `result` resolves with what there is, unless the request has ended already. */
  cancel(): void {
    this.#stream.cancel();
  }

  [Symbol.asyncIterator](): AsyncIterator<StructuredEvent<Output, Input>, undefined> {
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

async function complete<Output>(
  result: GenerateResult,
  schema: OutputSchema,
): Promise<StructuredResult<Output> | CancelledResult | GlimpseError> {
  const { finishReason } = result;
  if (finishReason === "cancelled") return { ...result, finishReason, output: undefined };
  const answer = parse(result);
  if (answer === undefined) return cutShort(result);
  const validated = await validate<Output>(schema, answer.json);
  if ("value" in validated) return { ...result, finishReason, output: validated.value };
  const { issues, cause } = validated;
  const [first = { message: "the schema refuses it", path: [] }] = issues;
  const where = first.path.length === 0 ? "" : ` at ${first.path.map(String).join(".")}`;
  return new GlimpseError("OUTPUT_INVALID", `output: the answer has the schema's form, but${where}: ${first.message}`, {
    hint: "A grammar cannot express this check. Say it in the prompt, or ask again with another seed.",
    requestId: result.requestId,
    partial: result,
    issues,
    cause,
  });
}

/** Undefined for JSON that is not complete. */
function parse({ text, finishReason }: GenerateResult): { json: unknown } | undefined {
  try {
    const json: unknown = JSON.parse(text);
    // More digits might have followed.
    return typeof json === "number" && finishReason === "length" ? undefined : { json };
  } catch {
    return undefined;
  }
}

function cutShort(result: GenerateResult): GlimpseError {
  const spent = result.usage.completionTokens;
  const where = result.text === "" ? "before the answer began" : "before the JSON was complete";
  return new GlimpseError("OUTPUT_INVALID", `output: ${spent} tokens were used up ${where}`, {
    hint: "Raise maxNewTokens, bound the schema's texts and arrays, or the thinking with maxThinkingTokens.",
    requestId: result.requestId,
    partial: result,
    issues: [{ message: "the JSON is not complete", path: [] }],
  });
}
