import type { RequestEvent, Submission, SubmittedRequest } from "../../orchestrator/transport.ts";
import { type ErrorCode, GlimpseError } from "../../protocol/errors.ts";
import { Glimpse } from "../../sdk/client.ts";
import { done, MemoryTransport } from "./memory-transport.ts";

export type Respond = (text: string, emit: (event: RequestEvent) => void) => void;

export const say = (text: string): RequestEvent => ({ type: "tokens", ids: [1], parts: [{ kind: "text", text }] });
export const fail = (code: ErrorCode): RequestEvent => ({
  type: "error",
  error: new GlimpseError(code, "as told", { retryAfterMs: 1 }),
});

export const echo: Respond = (text, emit) => {
  emit(say(text.toUpperCase()));
  emit(done("stop"));
};

/** Answers each request by what the user said last, in a later turn of the event loop; counts what is under way. */
export class AnsweringTransport extends MemoryTransport {
  readonly respond: Respond;
  readonly asked: string[] = [];
  running = 0;
  mostRunning = 0;

  constructor(respond: Respond = echo) {
    super();
    this.respond = respond;
  }

  override submit(submission: Submission, emit: (event: RequestEvent) => void): SubmittedRequest {
    const last = submission.messages.at(-1)?.content ?? [];
    const text = last.map((one) => (one.type === "text" ? one.text : "")).join("");
    this.asked.push(text);
    this.running += 1;
    this.mostRunning = Math.max(this.running, this.mostRunning);
    const counted = (event: RequestEvent): void => {
      if (event.type === "done" || event.type === "error") this.running -= 1;
      emit(event);
    };
    setImmediate(() => this.respond(text, counted));
    return super.submit(submission, counted);
  }
}

export function client(respond?: Respond): { glm: Glimpse; transport: AnsweringTransport } {
  const transport = new AnsweringTransport(respond);
  return { glm: new Glimpse(transport, { allowHosts: new Set() }), transport };
}
