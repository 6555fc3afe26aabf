import type { WorkerInfo } from "../../orchestrator/events.ts";
import type { RequestEvent, Submission, SubmittedRequest, Transport } from "../../orchestrator/transport.ts";

export const worker: WorkerInfo = {
  id: "worker-0",
  generation: 1,
  pid: 4242,
  state: "ready",
  exit: undefined,
  placement: "cpu",
  load: { requests: 0, tokens: 0, mediaBytes: 0 },
  heartbeat: undefined,
  device: { kind: "cpu", id: "cpu", name: "a processor" },
  model: "embedded",
  engine: "paged",
  dtype: "float32",
  contextLength: 2048,
  slots: 4,
  kvCacheTokens: 65_536,
  versions: {},
};

export const done = (finishReason: "stop" | "length" | "cancelled"): RequestEvent => ({
  type: "done",
  finishReason,
  usage: {
    promptTokens: 7,
    imageTokens: 0,
    cachedTokens: 2,
    cachedImageTokens: 0,
    thinkingTokens: 0,
    completionTokens: 3,
  },
  timing: { queueMs: 1, preprocessMs: 2, prefillMs: 3, decodeMs: 100 },
  worker,
  resumed: 0,
});

/** A transport without processes: the test plays the worker. */
export class MemoryTransport implements Transport {
  readonly requests: { submission: Submission; cancelled: boolean; emit: (event: RequestEvent) => void }[] = [];
  readonly #submitted: (() => void)[] = [];

  submit(submission: Submission, emit: (event: RequestEvent) => void): SubmittedRequest {
    const request = { submission, cancelled: false, emit };
    this.requests.push(request);
    for (const resolve of this.#submitted.splice(0)) resolve();
    return {
      cancel: () => {
        request.cancelled = true;
      },
    };
  }

  /** The first request, as soon as it is there. */
  async request(): Promise<(typeof this.requests)[number]> {
    while (this.requests.length === 0) await new Promise<void>((resolve) => this.#submitted.push(resolve));
    return this.requests[0] as (typeof this.requests)[number];
  }

  workers(): WorkerInfo[] {
    return [worker];
  }

  subscribe(): () => void {
    return () => {};
  }

  async drain(): Promise<void> {}

  async restart(): Promise<void> {}

  async close(): Promise<void> {}
}
