import { z } from "zod";
import { errorCodeList } from "./errors.ts";
import { warningCodes } from "./partial-result.ts";

/** Raised with every change that an older peer would misread. */
export const PROTOCOL_VERSION = 3;

/** The longest JSON Schema, as JSON. */
export const MAX_SCHEMA_CHARACTERS = 128 * 1024;

const count = z.int().min(0);
const milliseconds = z.number().min(0);
const requestKey = { request: z.string().min(1).max(64), attempt: count };

const failure = {
  code: z.enum(errorCodeList),
  message: z.string(),
  hint: z.string().optional(),
  traceback: z.string().optional(),
};

// ---------------------------------------------------------------- start-up line (JSON on the worker's stdin)

const engineChoice = z.discriminatedUnion("kind", [
  /** `kvCacheMemoryBytes` of the device's memory hold the keys and values of tokens; absent: the engine chooses. */
  z.strictObject({ kind: z.literal("paged"), kvCacheMemoryBytes: z.int().min(1).optional() }),
  /** `deviceMap` lets accelerate spread the layers over all devices that the process sees. */
  z.strictObject({ kind: z.literal("reference"), deviceMap: z.literal("auto").optional() }),
  /** Has no model: plays the faults that the tests need. `slots` are those of `ready`. */
  z.strictObject({
    kind: z.literal("scripted"),
    load: z.enum(["normal", "slow", "hang", "fail", "crash", "babble"]),
    slots: z.int().min(1).optional(),
  }),
]);

export const dtypeSchema = z.enum(["auto", "float32", "bfloat16", "float16"]);

/** The first and only line on the worker's stdin. Secrets travel here, never in argv. */
export const startSchema = z.strictObject({
  type: z.literal("start"),
  protocol: count,
  generation: count,
  /** One-time secret that the worker repeats in `hello`. */
  token: z.string(),
  control: z.string(),
  data: z.string(),
  /** The process whose death ends the worker. */
  parentPid: count,
  /** A directory, or an id on the Hugging Face hub. */
  model: z.string(),
  revision: z.string().optional(),
  hubToken: z.string().optional(),
  /** `auto`, `cpu`, or `cuda:N` (torch's name for an AMD GPU too). */
  device: z.string(),
  dtype: dtypeSchema,
  engine: engineChoice,
  /** How often the worker sends `heartbeat`. */
  heartbeatMs: z.int().min(1),
  /** How many threads torch computes with on a CPU; absent: torch's own choice. */
  threads: z.int().min(1).optional(),
});

// ---------------------------------------------------------------- orchestrator → worker

/** Control. Stop generating; the worker answers with `done` unless the request has ended already. */
export const cancelSchema = z.strictObject({ type: z.literal("cancel"), ...requestKey });

/** Control. Leave, without finishing what is on board. */
export const shutdownSchema = z.strictObject({ type: z.literal("shutdown") });

const wireContent = z.discriminatedUnion("type", [
  z.strictObject({ type: z.literal("text"), text: z.string() }),
  /** `index` counts in the request's `media`. */
  z.strictObject({ type: z.literal("media"), index: count }),
]);

/** A bound of the caller's, below the model's own, on width × height of a picture, of each page or each frame. */
const pixelCap = z.strictObject({ maxPixels: z.int().min(1), onTooLarge: z.enum(["downscale", "refuse"]) });
const cap = pixelCap.optional();

const wireMedia = z.discriminatedUnion("kind", [
  z.strictObject({ kind: z.literal("image"), bytes: count, cap }),
  /** One entry of `bytes` per frame; `fps` frames a second. */
  z.strictObject({ kind: z.literal("video"), bytes: z.array(count).min(1), fps: z.number().positive(), cap }),
  /** `fps` frames of each second are taken, `maxFrames` at most; absent: as the checkpoint's preprocessor says. */
  z.strictObject({
    kind: z.literal("videoFile"),
    bytes: count,
    fps: z.number().positive().optional(),
    maxFrames: z.int().min(1).optional(),
    cap,
  }),
  /** Each page becomes a picture, drawn at `dpi`. `pages` count from 1, in the order to show them; absent: all. */
  z.strictObject({
    kind: z.literal("pdf"),
    bytes: count,
    dpi: z.number().positive(),
    pages: z.array(z.int().min(1)).min(1).optional(),
    cap,
  }),
]);

/**
 * What is absent comes from the checkpoint's generation_config; a `temperature` below 1e-5 is greedy. `maxThinkingTokens`
 * is the most tokens between `<think>` and `</think>`: when they are used up the engine writes `</think><answer>`; 0 writes
 * `<think></think><answer>` before the first token. `schema` is a JSON Schema, as JSON: the answer is JSON that it
 * describes; refused beside `stop`.
 */
const wireOptions = z.strictObject({
  seed: z.int().min(0).max(0xffff_ffff),
  maxNewTokens: z.int().min(1).optional(),
  maxThinkingTokens: count.optional(),
  temperature: z.number().min(0).max(100).optional(),
  topP: z.number().gt(0).max(1).optional(),
  topK: z.int().min(1).optional(),
  repetitionPenalty: z.number().min(0.01).max(100).optional(),
  stop: z.array(z.string().min(1)).optional(),
  schema: z.string().min(1).max(MAX_SCHEMA_CHARACTERS).optional(),
});

/** Followed by one raw frame per picture, video frame, video file or PDF, in the order of `media`. */
const asked = {
  messages: z.array(
    z.strictObject({ role: z.enum(["system", "user", "assistant"]), content: z.array(wireContent).min(1) }),
  ),
  media: z.array(wireMedia),
};

/** Data. Answered with `counted`: nothing is generated. */
export const countSchema = z.strictObject({ type: z.literal("count"), ...requestKey, ...asked });

/** Data. Answered with tokens, until `done` or `error`. */
export const generateSchema = z.strictObject({
  type: z.literal("generate"),
  ...requestKey,
  /**
   * What an earlier attempt has generated and sent: the worker goes on after these ids, its first `tokens` item has
   * their number as `index`, and bounds and usage count them as generated.
   */
  generated: z.array(count).min(1).optional(),
  ...asked,
  options: wireOptions,
});

// ---------------------------------------------------------------- worker → orchestrator

/** Control. The first message of a worker, before it imports anything heavy. */
export const helloSchema = z.strictObject({
  type: z.literal("hello"),
  protocol: count,
  generation: count,
  token: z.string(),
  pid: count,
});

/** `graphs` comes after `ready`: the worker serves already, and becomes faster. */
export const loadingStages = ["import", "download", "weights", "graphs"] as const;

/** Control. `done` and `total` are bytes, of `graphs` how many of them. */
export const loadingSchema = z.strictObject({
  type: z.literal("loading"),
  stage: z.enum(loadingStages),
  done: count.optional(),
  total: count.optional(),
});

export const deviceSchema = z.strictObject({
  kind: z.enum(["cpu", "cuda", "rocm"]),
  /** torch's name: `cpu`, `cuda:0`. */
  id: z.string(),
  /** The marketing name, or the processor's. */
  name: z.string(),
  memoryBytes: count.optional(),
});

/** The numbers of the checkpoint's own preprocessor files; pixels count height × width × frames, as transformers does. */
const pixelLimits = z.strictObject({
  patchSize: count,
  mergeSize: count,
  temporalPatchSize: count,
  minPixels: count,
  maxPixels: count,
});

/** Control. From here on the worker takes requests. */
export const readySchema = z.strictObject({
  type: z.literal("ready"),
  model: z.string(),
  /** The commit of the checkpoint, when it came from the hub. */
  revision: z.string().optional(),
  engine: z.enum(["paged", "reference", "scripted"]),
  dtype: z.string(),
  device: deviceSchema,
  /** How many requests the orchestrator may have on board at once. */
  slots: z.int().min(1),
  /** How many tokens the KV cache holds, of all requests together; absent when the engine has none. */
  kvCacheTokens: z.int().min(1).optional(),
  contextLength: count,
  imageLimits: pixelLimits,
  videoLimits: pixelLimits,
  stopTokenIds: z.array(count),
  /** Names and versions of what the worker runs on: python, torch, transformers … */
  versions: z.record(z.string(), z.string()),
});

/** Control. The worker cannot start; it leaves after this message. */
export const failedSchema = z.strictObject({ type: z.literal("failed"), ...failure });

/**
 * Control. The worker leaves after this message: a frame from the orchestrator was not a message, or the engine broke in
 * a way that no later request would survive. What is on board has no other ending.
 */
export const faultSchema = z.strictObject({
  type: z.literal("fault"),
  reason: z.enum(["frame refused", "engine broken"]),
  message: z.string(),
});

/** `idle`: nothing is computed. `step`: a step is under way; a hang before the first token of a request counts as one. */
export const heartbeatPhases = ["loading", "idle", "step"] as const;

/**
 * Control. Sent every `heartbeatMs` from `hello` on, by a thread that neither loading nor a step can hold up, unless they
 * hold the interpreter's lock or the process is stopped.
 */
export const heartbeatSchema = z.strictObject({
  type: z.literal("heartbeat"),
  phase: z.enum(heartbeatPhases),
  /** How many steps the engine has ended. */
  steps: count,
  /** How long the present phase, and in `step` the present step, has lasted. */
  ageMs: milliseconds,
  /** Requests that have a place in the engine, and those that wait for one. */
  running: count,
  waiting: count,
  /** Bytes. `process` is the resident memory; `used` and `total` those of the device, absent on a CPU. */
  memory: z.strictObject({ process: count, used: count.optional(), total: count.optional() }),
});

/**
 * The generated text, taken apart. The `text` of thinking, text and markup parts, joined in order, is the raw text:
 * markup is what belongs to neither (tags, box tokens, the stop token, white space at the borders).
 */
export const partSchema = z.discriminatedUnion("kind", [
  z.strictObject({ kind: z.literal("thinking"), text: z.string() }),
  z.strictObject({ kind: z.literal("text"), text: z.string() }),
  z.strictObject({ kind: z.literal("markup"), text: z.string() }),
  /** Pixels of medium `image` after EXIF orientation: left, top, right, bottom. */
  z.strictObject({
    kind: z.literal("box"),
    image: count,
    box: z.array(z.number()).length(4),
    /** Of a PDF: the number of the page, whose pixels at the `dpi` of the medium these are. */
    page: z.int().min(1).optional(),
    /** What the model calls it, where it says so. */
    label: z.string().min(1).optional(),
  }),
]);

/**
 * Data. The media of the request were read and its prompt was built: from here on their bytes no longer count as in
 * flight, and the true number of tokens replaces the orchestrator's estimate.
 */
export const preparedSchema = z.strictObject({
  type: z.literal("prepared"),
  ...requestKey,
  promptTokens: count,
  imageTokens: count,
});

/** Data. One per engine step: the new tokens of every request that got some. `index` is that of the first id. */
export const tokensSchema = z.strictObject({
  type: z.literal("tokens"),
  items: z.array(z.strictObject({ ...requestKey, index: count, ids: z.array(count), parts: z.array(partSchema) })),
});

const countedMedia = z.discriminatedUnion("kind", [
  z.strictObject({ kind: z.literal("image"), tokens: count }),
  /** `frames` is how many the model sees. */
  z.strictObject({ kind: z.literal("video"), tokens: count, frames: count, durationMs: milliseconds }),
  /** `pages` are those of the whole document; `pageTokens` has an entry for each that is shown. */
  z.strictObject({ kind: z.literal("pdf"), tokens: count, pages: count, pageTokens: z.array(count) }),
]);

/** Data. The good ending of `count`. The `tokens` of all media add up to `imageTokens`. */
export const countedSchema = z.strictObject({
  type: z.literal("counted"),
  ...requestKey,
  promptTokens: count,
  imageTokens: count,
  contextLength: count,
  media: z.array(countedMedia),
});

/** Data. The request goes on; its caller should know. */
export const warningSchema = z.strictObject({
  type: z.literal("warning"),
  ...requestKey,
  code: z.enum(warningCodes),
  message: z.string(),
  media: count.optional(),
});

export const finishReasons = ["stop", "length", "cancelled"] as const;

export const usageSchema = z.strictObject({
  /** All tokens of the prompt, those of pictures and video included. */
  promptTokens: count,
  /** The part of `promptTokens` that stands for pictures or video frames. */
  imageTokens: count,
  /** The part of `promptTokens` whose keys and values were reused from an earlier request. */
  cachedTokens: count,
  /** The part of `imageTokens` that did not go through the vision tower again. */
  cachedImageTokens: count,
  /** The part of `completionTokens` spent on thinking, its tags included. */
  thinkingTokens: count,
  /** Everything generated, the stop token included. */
  completionTokens: count,
});

/** Data. The one good ending of a request. */
export const doneSchema = z.strictObject({
  type: z.literal("done"),
  ...requestKey,
  finishReason: z.enum(finishReasons),
  usage: usageSchema,
  /** Waiting in the worker; media and prompt; prompt to first token; first token to last. */
  timing: z.strictObject({
    queueMs: milliseconds,
    preprocessMs: milliseconds,
    prefillMs: milliseconds,
    decodeMs: milliseconds,
  }),
});

/** Data. The one bad ending of a request; the worker goes on. `media` is the medium at fault, when there is one. */
export const errorSchema = z.strictObject({
  type: z.literal("error"),
  ...requestKey,
  ...failure,
  media: count.optional(),
});

// ---------------------------------------------------------------- the four directions

export const controlToWorkerSchema = z.discriminatedUnion("type", [cancelSchema, shutdownSchema]);
export const controlFromWorkerSchema = z.discriminatedUnion("type", [
  helloSchema,
  loadingSchema,
  readySchema,
  failedSchema,
  faultSchema,
  heartbeatSchema,
]);
export const dataFromWorkerSchema = z.discriminatedUnion("type", [
  preparedSchema,
  tokensSchema,
  warningSchema,
  countedSchema,
  doneSchema,
  errorSchema,
]);

export type StartMessage = z.infer<typeof startSchema>;
export type EngineChoice = z.infer<typeof engineChoice>;
export type Dtype = z.infer<typeof dtypeSchema>;
export type ControlToWorker = z.infer<typeof controlToWorkerSchema>;
export type GenerateMessage = z.infer<typeof generateSchema>;
export type CountMessage = z.infer<typeof countSchema>;
export type WireOptions = z.infer<typeof wireOptions>;
export type WireContent = z.infer<typeof wireContent>;
export type WireMedia = z.infer<typeof wireMedia>;
export type ControlFromWorker = z.infer<typeof controlFromWorkerSchema>;
export type DataFromWorker = z.infer<typeof dataFromWorkerSchema>;
export type LoadingMessage = z.infer<typeof loadingSchema>;
export type ReadyMessage = z.infer<typeof readySchema>;
export type HeartbeatMessage = z.infer<typeof heartbeatSchema>;
export type PreparedMessage = z.infer<typeof preparedSchema>;
export type PixelLimits = z.infer<typeof pixelLimits>;
export type CountedMessage = z.infer<typeof countedSchema>;
export type PixelCap = z.infer<typeof pixelCap>;
export type DoneMessage = z.infer<typeof doneSchema>;
export type Device = z.infer<typeof deviceSchema>;
export type Part = z.infer<typeof partSchema>;
export type FinishReason = (typeof finishReasons)[number];
export type Usage = z.infer<typeof usageSchema>;
