import type { WorkerEvent, WorkerInfo } from "../../orchestrator/events.ts";
import type { RequestEvent, Submission, SubmittedRequest, Transport } from "../../orchestrator/transport.ts";

interface Taken {
  submission: Submission;
  cancelled: boolean;
  emit: (event: RequestEvent) => void;
}

/** The workers of a background orchestrator, played by the test. */
export class FakeTransport implements Transport {
  readonly requests = new Map<string, Taken>();
  infos: WorkerInfo[] = [];
  /** How the next restart goes. */
  restarting: () => Promise<void> = () => Promise.resolve();
  onSubmit: (taken: Taken) => void = () => {};
  readonly #waiting: (() => void)[] = [];

  submit(submission: Submission, emit: (event: RequestEvent) => void): SubmittedRequest {
    const taken = { submission, cancelled: false, emit };
    this.requests.set(submission.id, taken);
    for (const resolve of this.#waiting.splice(0)) resolve();
    setImmediate(() => this.onSubmit(taken));
    return {
      cancel: () => {
        taken.cancelled = true;
        for (const resolve of this.#waiting.splice(0)) resolve();
      },
    };
  }

  /** The request, as soon as it was submitted and `condition` holds; looked at again when a request comes or is cancelled. */
  async request(id: string, condition: (taken: Taken) => boolean = () => true): Promise<Taken> {
    for (;;) {
      const taken = this.requests.get(id);
      if (taken !== undefined && condition(taken)) return taken;
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    }
  }

  workers(): WorkerInfo[] {
    return this.infos;
  }

  subscribe(_listener: (event: WorkerEvent) => void): () => void {
    throw new Error("the server is told of events by whoever started the workers");
  }

  async drain(): Promise<void> {}

  restart(): Promise<void> {
    return this.restarting();
  }

  async close(): Promise<void> {}
}
