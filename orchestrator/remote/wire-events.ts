import { GlimpseError } from "../../protocol/errors.ts";
import type { Failure, FromBackground, WireRequestEvent } from "../../protocol/remote.ts";
import type { RequestEvent } from "../transport.ts";

/** What of an error travels. `partial` does not: the client has gathered it. */
export function toFailure({ code, message, hint, traceback, retryAfterMs }: GlimpseError): Failure {
  return { code, message, hint, traceback, retryAfterMs };
}

export function toError({ code, message, ...details }: Failure): GlimpseError {
  return new GlimpseError(code, message, details);
}

/** An event as a message for the client. */
export function eventMessage(request: string, event: RequestEvent): object {
  if (event.type !== "error") return { type: "event", request, event };
  const { type, error, media } = event;
  return { type: "event", request, event: { type, ...toFailure(error), media } };
}

/** The event that a message carried. */
export function toRequestEvent(event: WireRequestEvent): RequestEvent {
  switch (event.type) {
    case "error":
      return { type: "error", error: toError(event), media: event.media };
    case "done":
      return { ...event, worker: event.worker };
    default:
      return event;
  }
}

export type Bye = FromBackground & { type: "bye" };
