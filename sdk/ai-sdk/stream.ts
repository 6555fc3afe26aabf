import type { LanguageModelV3StreamPart, SharedV3Warning } from "@ai-sdk/provider";
import { GlimpseError } from "../../protocol/errors.ts";
import type { GenerateResult, StreamEvent, StructuredEvent } from "../result.ts";
import { invalidResult, toAiError } from "./errors.ts";
import { toFinishReason, toMetadata, toUsage, toWarning, unknownUsage } from "./result.ts";

type Part = LanguageModelV3StreamPart;
type Event = StreamEvent | StructuredEvent<unknown>;

/** A running request, as far as its events go. */
export interface Running extends AsyncIterable<Event> {
  cancel(): void;
}

export interface StreamOptions {
  modelId: string;
  warnings: readonly SharedV3Warning[];
  /** Whether every event of ours comes as a part, too. */
  includeRawChunks: boolean;
}

/**
 * Waits for the first token, so that a request which fails before it rejects here, where it can be repeated; then gives
 * the parts as they are asked for. Cancelling the stream frees the worker.
 */
export async function openStream(running: Running, options: StreamOptions): Promise<ReadableStream<Part>> {
  const parts = partsOf(running, options);
  const first = await parts.next();
  return new ReadableStream<Part>(
    {
      start: (controller) => give(first, controller),
      pull: async (controller) => give(await parts.next(), controller),
      cancel: () => running.cancel(),
    },
    // Nothing is read ahead.
    { highWaterMark: 0 },
  );
}

function give(next: IteratorResult<Part, void>, controller: ReadableStreamDefaultController<Part>): void {
  if (next.done) controller.close();
  else controller.enqueue(next.value);
}

async function* partsOf(running: Running, options: StreamOptions): AsyncGenerator<Part, void> {
  const early: Event[] = [];
  const blocks = new Blocks();
  let hasStarted = false;
  try {
    for await (const event of leniently(running)) {
      if (!hasStarted && isEarly(event)) early.push(event);
      else {
        if (!hasStarted) yield* startOf(early, options);
        hasStarted = true;
        if (options.includeRawChunks) yield { type: "raw", rawValue: event };
        yield* blocks.take(event);
      }
    }
  } catch (error) {
    // Where nothing was given away it can be repeated. An abort ends the stream as it does that of `fetch`.
    if (!hasStarted || GlimpseError.is(error, "ABORTED")) throw toAiError(error);
    yield* blocks.close();
    yield { type: "error", error };
    yield { type: "finish", finishReason: { unified: "error", raw: undefined }, usage: unknownUsage };
  }
}

/** An answer that does not hold to its schema ends as any other: whoever asked for it reads the text, and finds out. */
async function* leniently(running: Running): AsyncGenerator<Event, void> {
  try {
    yield* running;
  } catch (error) {
    const result = invalidResult(error);
    if (result === undefined) throw error;
    yield { type: "finish", result };
  }
}

type Early = Event & { type: "queued" | "warning" };

function isEarly(event: Event): event is Early {
  return event.type === "queued" || event.type === "warning";
}

function* startOf(early: readonly Event[], options: StreamOptions): Generator<Part, void> {
  const warnings = early.flatMap((event) => (event.type === "warning" ? [toWarning(event)] : []));
  yield { type: "stream-start", warnings: [...options.warnings, ...warnings] };
  yield { type: "response-metadata", modelId: options.modelId, timestamp: new Date() };
  if (options.includeRawChunks) for (const rawValue of early) yield { type: "raw", rawValue };
}

/** Thinking and answer, each between its start and its end. */
class Blocks {
  #open: { type: "reasoning" | "text"; id: string } | undefined;
  #opened = 0;

  *take(event: Event): Generator<Part, void> {
    switch (event.type) {
      case "thinking":
        return yield* this.#delta("reasoning", event.text);
      case "text":
        return yield* this.#delta("text", event.text);
      case "finish":
        yield* this.close();
        return yield* finishOf(event.result);
      // Boxes and later warnings are in the metadata of the finish; partial objects the AI SDK reads from the text.
      case "box":
      case "output":
      case "queued":
      case "warning":
        return;
      default:
        return event satisfies never;
    }
  }

  *#delta(type: "reasoning" | "text", delta: string): Generator<Part, void> {
    if (this.#open?.type !== type) {
      yield* this.close();
      this.#open = { type, id: `${type}-${this.#opened++}` };
      yield { type: `${type}-start`, id: this.#open.id };
    }
    yield { type: `${type}-delta`, id: this.#open.id, delta };
  }

  *close(): Generator<Part, void> {
    if (this.#open === undefined) return;
    const { type, id } = this.#open;
    this.#open = undefined;
    yield { type: `${type}-end`, id };
  }
}

function* finishOf(result: GenerateResult): Generator<Part, void> {
  yield { type: "response-metadata", id: result.requestId };
  yield {
    type: "finish",
    finishReason: toFinishReason(result.finishReason),
    usage: toUsage(result.usage),
    providerMetadata: toMetadata(result),
  };
}
