import { randomInt } from "node:crypto";
import type { RequestEvent } from "../orchestrator/transport.ts";
import type { Part } from "../protocol/messages.ts";
import type { Box, GenerateResult, PartialResult, StreamEvent, Warning } from "./result.ts";

/** The endings of a request that come with a result. */
export type Ending = Omit<RequestEvent & { type: "done" }, "type">;

/** Gathers what one request generates. Knows no promise and no socket. */
export class Generation {
  readonly requestId: string;
  /** Drawn, until the request names its own. */
  seed = randomInt(2 ** 32);
  readonly #calledAt = performance.now();
  #preparedMs = 0;
  /** From the call; undefined before the first token. */
  firstTokenMs: number | undefined;
  #text = "";
  #thinking = "";
  #raw = "";
  readonly #boxes: Box[] = [];
  readonly #tokenIds: number[] = [];
  readonly #warnings: Warning[] = [];

  constructor(requestId: string) {
    this.requestId = requestId;
  }

  /** The media are read. */
  prepared(): void {
    this.#preparedMs = performance.now() - this.#calledAt;
  }

  tokens({ ids, parts }: { ids: readonly number[]; parts: readonly Part[] }): StreamEvent[] {
    if (ids.length > 0) this.firstTokenMs ??= performance.now() - this.#calledAt;
    for (const id of ids) this.#tokenIds.push(id);
    return parts.flatMap((part) => this.#part(part));
  }

  #part(part: Part): StreamEvent[] {
    switch (part.kind) {
      case "thinking":
        this.#thinking += part.text;
        this.#raw += part.text;
        return [{ type: "thinking", text: part.text }];
      case "text":
        this.#text += part.text;
        this.#raw += part.text;
        return [{ type: "text", text: part.text }];
      case "markup":
        this.#raw += part.text;
        return [];
      case "box": {
        const [left = 0, top = 0, right = 0, bottom = 0] = part.box;
        const { image, page, label } = part;
        const named = { ...(page && { page }), ...(label !== undefined && { label }) };
        const box: Box = { image, ...named, box: [left, top, right, bottom] };
        this.#boxes.push(box);
        return [{ type: "box", ...box }];
      }
      default:
        return part satisfies never;
    }
  }

  warning({ code, message }: RequestEvent & { type: "warning" }): Warning {
    const warning: Warning = { code, message };
    this.#warnings.push(warning);
    return warning;
  }

  partial(): PartialResult {
    return {
      text: this.#text,
      thinking: this.#thinking,
      boxes: [...this.#boxes],
      raw: this.#raw,
      tokenIds: [...this.#tokenIds],
      requestId: this.requestId,
      seed: this.seed,
      warnings: [...this.#warnings],
    };
  }

  result({ finishReason, usage, timing, worker, resumed }: Ending): GenerateResult {
    const decoded = usage.completionTokens - 1;
    return {
      ...this.partial(),
      finishReason,
      usage,
      timing: {
        queueMs: timing.queueMs,
        preprocessMs: this.#preparedMs + timing.preprocessMs,
        firstTokenMs: this.firstTokenMs,
        totalMs: performance.now() - this.#calledAt,
        tokensPerSecond: decoded > 0 && timing.decodeMs > 0 ? (decoded * 1000) / timing.decodeMs : undefined,
      },
      resumed,
      worker: worker && { id: worker.id, pid: worker.pid, device: worker.device },
    };
  }
}
