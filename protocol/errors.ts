import type { PartialResult } from "./partial-result.ts";

/**
 * Every way in which Glimpse can fail. The list is closed: a `switch` over `error.code` can be exhaustive.
 * `retryable` means that the same call may succeed later without being changed.
 */
export const errorCodes = {
  INVALID_REQUEST: { retryable: false, meaning: "an option or a message is not what the call accepts" },
  SCHEMA_UNSUPPORTED: { retryable: false, meaning: "the schema asks for what cannot be enforced while decoding" },
  OUTPUT_INVALID: { retryable: false, meaning: "the answer is not what the schema describes: see issues and partial" },
  MEDIA_MIX_UNSUPPORTED: {
    retryable: false,
    meaning: "the model takes pictures (pages of PDFs too) or one video, never both",
  },
  FILE_NOT_FOUND: { retryable: false, meaning: "the path of a picture, video or PDF does not exist or cannot be read" },
  URL_NOT_FOUND: { retryable: false, meaning: "the server has nothing for Glimpse at that URL (404, 403, …)" },
  FETCH_REFUSED: { retryable: false, meaning: "a URL points where Glimpse does not go: see allowHosts" },
  FETCH_FAILED: { retryable: true, meaning: "a URL did not answer in time, or not as expected" },
  IMAGE_UNREADABLE: { retryable: false, meaning: "the bytes are no PNG, JPEG, WebP or GIF, or are damaged" },
  IMAGE_TOO_LARGE: { retryable: false, meaning: "a picture, page or frame has more bytes or pixels than the limit" },
  VIDEO_UNREADABLE: { retryable: false, meaning: "a video is damaged, too large, or its frames do not fit together" },
  PDF_UNREADABLE: { retryable: false, meaning: "a PDF is damaged, encrypted, or has too many bytes or pages" },
  CONTEXT_TOO_LONG: { retryable: false, meaning: "the prompt leaves no room in the model's context" },
  GPU_OUT_OF_MEMORY: { retryable: true, meaning: "the request did not fit into the device's memory" },
  GENERATION_FAILED: { retryable: false, meaning: "an unforeseen error ended this request inside the worker" },
  QUEUE_FULL: { retryable: true, meaning: "more requests wait than the queue may hold" },
  TIMEOUT: { retryable: true, meaning: "the request's own deadline passed: timeoutMs or queueTimeoutMs" },
  POISON_REQUEST: { retryable: false, meaning: "workers died of this request, with nothing else on board" },
  ABORTED: { retryable: false, meaning: "the caller's AbortSignal fired" },
  DISPOSED: { retryable: false, meaning: "the client was closed" },
  WORKER_LOST: { retryable: true, meaning: "the worker ended, and the request could not go on with another" },
  WORKER_START_FAILED: { retryable: false, meaning: "the worker process ended or failed before it was ready" },
  PYTHON_NOT_FOUND: { retryable: false, meaning: "there is no Python interpreter" },
  PYTHON_UNSUPPORTED: { retryable: false, meaning: "the Python interpreter is too old or too new" },
  PYTHON_VENV_MISSING: { retryable: false, meaning: "Python cannot make virtual environments" },
  PYTHON_DEPS_MISSING: { retryable: false, meaning: "the Python environment lacks a package, or does not exist yet" },
  SETUP_FAILED: { retryable: true, meaning: "a step of the set-up did not succeed" },
  MODEL_NOT_FOUND: { retryable: false, meaning: "no checkpoint at that path, or no such id" },
  MODEL_UNSUPPORTED: { retryable: false, meaning: "the checkpoint is not a Glm4v model, or is incomplete" },
  MODEL_DOWNLOAD_FAILED: { retryable: true, meaning: "the checkpoint could not be downloaded" },
  DISK_FULL: { retryable: false, meaning: "the disk has no room for the checkpoint" },
  DEVICE_NOT_FOUND: { retryable: false, meaning: "the device asked for is not there" },
  PLATFORM_UNSUPPORTED: { retryable: false, meaning: "this operating system, thread or bundle cannot host workers" },
  NOT_RUNNING: { retryable: false, meaning: "no `glimpse up` runs that a program could connect to" },
  CONNECTION_LOST: { retryable: true, meaning: "the background orchestrator ended while the request was with it" },
  PROTOCOL_MISMATCH: { retryable: false, meaning: "worker and library speak different versions of the protocol" },
  PROTOCOL_ERROR: { retryable: false, meaning: "a frame on the wire was not a message of the protocol" },
} as const satisfies Record<string, { retryable: boolean; meaning: string }>;

export type ErrorCode = keyof typeof errorCodes;

export const errorCodeList = Object.keys(errorCodes) as [ErrorCode, ...ErrorCode[]];

/** What a schema does not accept of an answer. */
export interface OutputIssue {
  message: string;
  /** The keys that lead to it; empty for the whole answer. */
  path: readonly PropertyKey[];
}

export interface GlimpseErrorDetails {
  /** What the caller can do about it, in one sentence. */
  hint?: string | undefined;
  /** With QUEUE_FULL: after how many milliseconds there is likely to be room. */
  retryAfterMs?: number | undefined;
  /** The request that failed, when there was one. */
  requestId?: string | undefined;
  /** What had been generated when the request ended. */
  partial?: PartialResult | undefined;
  /** With OUTPUT_INVALID: what is wrong with the answer. */
  issues?: readonly OutputIssue[] | undefined;
  /** The Python traceback, when the failure happened in a worker. */
  traceback?: string | undefined;
  cause?: unknown;
}

const brand = Symbol.for("glimpse.error");

/**
 * The only error class that Glimpse throws. `message` says which option or input, what was expected and what came;
 * `hint` says what to do. Use `GlimpseError.is(error, "CODE")` rather than `instanceof`: it also holds when two copies
 * of the package are installed.
 */
export class GlimpseError extends Error {
  override readonly name = "GlimpseError";
  readonly code: ErrorCode;
  readonly retryable: boolean;
  declare readonly hint?: string;
  declare readonly retryAfterMs?: number;
  declare readonly requestId?: string;
  declare readonly partial?: PartialResult;
  declare readonly issues?: readonly OutputIssue[];
  declare readonly traceback?: string;
  constructor(code: ErrorCode, message: string, details: GlimpseErrorDetails = {}) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause });
    // Not enumerable, so that a printed error shows what there is to read.
    Object.defineProperty(this, brand, { value: true });
    this.code = code;
    this.retryable = errorCodes[code].retryable;
    if (details.hint !== undefined) this.hint = details.hint;
    if (details.retryAfterMs !== undefined) this.retryAfterMs = details.retryAfterMs;
    if (details.requestId !== undefined) this.requestId = details.requestId;
    if (details.partial !== undefined) this.partial = details.partial;
    if (details.issues !== undefined) this.issues = details.issues;
    if (details.traceback !== undefined) this.traceback = details.traceback;
  }

  /** Whether `error` is a GlimpseError and, if `code` is given, has that code. */
  static is<Code extends ErrorCode>(error: unknown, code?: Code): error is GlimpseError & { readonly code: Code } {
    if (!(error instanceof Error) || !(brand in error)) return false;
    return code === undefined || ("code" in error && error.code === code);
  }
}
