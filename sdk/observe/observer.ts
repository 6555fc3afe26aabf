import type { GlimpseError } from "../../protocol/errors.ts";
import type { WireOptions } from "../../protocol/messages.ts";
import type { GenerateResult, Warning } from "../result.ts";

/** `model` is undefined before the first worker is ready. */
export type RequestStart = { requestId: string; model: string | undefined };
/** The options as the worker gets them, with the seed; how many pictures and video frames, and their bytes. */
export type RequestSubmit = { requestId: string; options: WireOptions; pictures: number; bytes: number };
/** Milliseconds from the call. */
export type RequestFirstToken = { requestId: string; firstTokenMs: number };
export type RequestWarning = { requestId: string; warning: Warning };
export type RequestEnd = { requestId: string; result: GenerateResult };
export type RequestFailure = { requestId: string; error: GlimpseError };

/**
 * Hears what becomes of requests, before their callers do. After `started` comes either `finished` or `failed`, once; what
 * lies between may not come.
 */
export interface RequestObserver {
  started?: (event: RequestStart) => void;
  submitted?: (event: RequestSubmit) => void;
  gotFirstToken?: (event: RequestFirstToken) => void;
  warned?: (event: RequestWarning) => void;
  finished?: (event: RequestEnd) => void;
  failed?: (event: RequestFailure) => void;
}

/** One observer for many, told in their order. */
export function allOf(observers: readonly RequestObserver[]): Required<RequestObserver> {
  const each = (tell: (observer: RequestObserver) => void): void => {
    for (const observer of observers) tell(observer);
  };
  return {
    started: (event) => each((observer) => observer.started?.(event)),
    submitted: (event) => each((observer) => observer.submitted?.(event)),
    gotFirstToken: (event) => each((observer) => observer.gotFirstToken?.(event)),
    warned: (event) => each((observer) => observer.warned?.(event)),
    finished: (event) => each((observer) => observer.finished?.(event)),
    failed: (event) => each((observer) => observer.failed?.(event)),
  };
}
