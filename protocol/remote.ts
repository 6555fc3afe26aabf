/** The wire between a program and the background orchestrator of `glimpse up`: see orchestrator/remote/ for its frames. */
import { constants } from "node:os";
import { z } from "zod";
import { decoder } from "./codec.ts";
import {
  countedSchema,
  deviceSchema,
  doneSchema,
  errorSchema,
  generateSchema,
  heartbeatSchema,
  loadingSchema,
  partSchema,
  readySchema,
  warningSchema,
} from "./messages.ts";

/** Raised with every change that an older peer would misread. */
export const REMOTE_PROTOCOL_VERSION = 1;

/** The most that the media of one request may weigh together. */
export const MAX_REQUEST_MEDIA_BYTES = 1024 * 1024 * 1024;

const count = z.int().min(0);
const requestId = z.string().min(1).max(64);
const retryAfter = { retryAfterMs: z.number().min(0).optional() };
const failure = errorSchema.pick({ code: true, message: true, hint: true, traceback: true }).extend(retryAfter);

// ---------------------------------------------------------------- program → background orchestrator

/** The first message. Its shape, and that of `bye`, stay as they are: any two versions can refuse each other by name. */
const helloSchema = z.strictObject({
  type: z.literal("hello"),
  protocol: count,
  /** Glimpse's own, as in "0.1.0": both sides must be the same. */
  version: z.string().max(64),
  token: z.string().max(128),
});

/** Followed by one raw frame per picture, video frame, video file or PDF, in the order of `media`. */
const submitSchema = generateSchema.pick({ messages: true, media: true, options: true }).extend({
  type: z.literal("submit"),
  request: requestId,
  queueTimeoutMs: z.number().min(0).optional(),
  count: z.literal(true).optional(),
});

const cancelSchema = z.strictObject({ type: z.literal("cancel"), request: requestId });

/** Whether this client wants the events of the workers. */
const subscribeSchema = z.strictObject({ type: z.literal("subscribe"), on: z.boolean() });

/** Replaces the workers one by one; answered with `settled`. */
const restartSchema = z.strictObject({ type: z.literal("restart"), call: count });

/** Ends the orchestrator and its workers: after what is running (`drain`), or at once. Answered with `bye`. */
const shutdownSchema = z.strictObject({ type: z.literal("shutdown"), drain: z.boolean() });

export const toBackgroundSchema = z.discriminatedUnion("type", [
  helloSchema,
  submitSchema,
  cancelSchema,
  subscribeSchema,
  restartSchema,
  shutdownSchema,
]);

// ---------------------------------------------------------------- background orchestrator → program

const exitSchema = z.discriminatedUnion("kind", [
  z.strictObject({ kind: z.literal("exited"), code: count }),
  z.strictObject({
    kind: z.literal("signalled"),
    signal: z.custom<NodeJS.Signals>((value) => typeof value === "string" && Object.hasOwn(constants.signals, value)),
  }),
  z.strictObject({ kind: z.literal("not-spawned"), message: z.string() }),
]);

const stateName = z.enum([
  "waiting",
  "starting",
  "loading",
  "ready",
  "stuck",
  "draining",
  "stopping",
  "stopped",
  "failed",
]);

/** What is absent on the wire is a field that is undefined. */
const absentInfo = {
  pid: undefined,
  exit: undefined,
  heartbeat: undefined,
  device: undefined,
  model: undefined,
  engine: undefined,
  dtype: undefined,
  contextLength: undefined,
  slots: undefined,
  kvCacheTokens: undefined,
  versions: undefined,
};

export const workerInfoSchema = z
  .strictObject({
    id: z.string(),
    generation: count,
    pid: count.optional(),
    state: stateName,
    exit: exitSchema.optional(),
    placement: z.string(),
    load: z.strictObject({ requests: count, tokens: z.number().min(0), mediaBytes: count }),
    heartbeat: heartbeatSchema.omit({ type: true }).optional(),
    device: deviceSchema.optional(),
    model: z.string().optional(),
    engine: readySchema.shape.engine.optional(),
    dtype: z.string().optional(),
    contextLength: count.optional(),
    slots: count.optional(),
    kvCacheTokens: count.optional(),
    versions: readySchema.shape.versions.optional(),
  })
  .transform(({ id, generation, ...info }) => ({ id, generation, ...absentInfo, ...info }));

const crashReportSchema = z
  .strictObject({
    worker: z.string(),
    generation: count,
    pid: count.optional(),
    cause: z.enum(["exited", "gave up", "hung", "silent", "babbled"]),
    exit: exitSchema,
    message: z.string(),
    state: stateName,
    stderr: z.array(z.string()),
    stacks: z.string().optional(),
    running: z.array(z.strictObject({ request: z.string(), tokens: count })),
  })
  .transform((report) => ({ pid: undefined, stacks: undefined, ...report }));

const worker = { worker: z.string() };

export const workerEventSchema = z.discriminatedUnion("type", [
  z.strictObject({ type: z.literal("state"), ...worker, generation: count, state: stateName }),
  loadingSchema.extend(worker),
  z.strictObject({ type: z.literal("log"), ...worker, stream: z.enum(["stdout", "stderr"]), line: z.string() }),
  z.strictObject({ type: z.literal("lost"), ...worker, report: crashReportSchema }),
  z.strictObject({ type: z.literal("restart"), ...worker, inMs: z.number().min(0), failures: count }),
  z.strictObject({ type: z.literal("memory held"), ...worker, device: z.string(), processes: z.array(count) }),
  z.strictObject({
    type: z.literal("request"),
    ...worker,
    request: z.string(),
    outcome: z.enum(["resumed", "restarted", "suspected", "quarantined", "failed"]),
    tokens: count,
  }),
]);

export const requestEventSchema = z.discriminatedUnion("type", [
  z.strictObject({ type: z.literal("queued"), position: count }),
  z.strictObject({ type: z.literal("tokens"), ids: z.array(count), parts: z.array(partSchema) }),
  warningSchema.omit({ request: true, attempt: true }),
  countedSchema.omit({ request: true, attempt: true }),
  doneSchema.omit({ request: true, attempt: true }).extend({ worker: workerInfoSchema.optional(), resumed: count }),
  errorSchema.omit({ request: true, attempt: true }).extend(retryAfter),
]);

/** `glimpse up`'s own words for what was asked for, without secrets. */
export const launchSummarySchema = z.record(z.string(), z.union([z.string(), z.number(), z.array(z.string())]));

/** `starting`: the workers load. `ending`: nothing new is taken. */
export const backgroundPhaseSchema = z.enum(["starting", "ready", "ending"]);

/** The answer to `hello`. */
const welcomeSchema = z.strictObject({
  type: z.literal("welcome"),
  pid: count,
  /** ISO 8601. */
  started: z.string(),
  options: launchSummarySchema,
  phase: backgroundPhaseSchema,
  workers: z.array(workerInfoSchema),
});

/** From here on requests are taken; at once after `welcome` unless the phase was `starting`. */
const readyNoticeSchema = z.strictObject({ type: z.literal("ready") });

/** Sent when they have changed, at most about once a second but for changes of state. */
const workersSchema = z.strictObject({ type: z.literal("workers"), workers: z.array(workerInfoSchema) });

const eventSchema = z.strictObject({ type: z.literal("event"), request: requestId, event: requestEventSchema });
const workerEventNoticeSchema = z.strictObject({ type: z.literal("worker event"), event: workerEventSchema });

/** How a `restart` went. */
const settledSchema = z.strictObject({ type: z.literal("settled"), call: count, error: failure.optional() });

/** The last message: why nothing follows. It is the ending of every request that has none. */
const byeSchema = failure.extend({ type: z.literal("bye") });

export const fromBackgroundSchema = z.discriminatedUnion("type", [
  welcomeSchema,
  readyNoticeSchema,
  workersSchema,
  eventSchema,
  workerEventNoticeSchema,
  settledSchema,
  byeSchema,
]);

export const decodeToBackground = decoder(toBackgroundSchema, "client");
export const decodeFromBackground = decoder(fromBackgroundSchema, "background");

export type ToBackground = z.input<typeof toBackgroundSchema>;
export type FromBackground = z.output<typeof fromBackgroundSchema>;
export type Submit = z.output<typeof submitSchema>;
export type Welcome = z.output<typeof welcomeSchema>;
export type BackgroundPhase = z.output<typeof backgroundPhaseSchema>;
export type LaunchSummary = z.output<typeof launchSummarySchema>;
export type Failure = z.output<typeof failure>;
export type WireRequestEvent = z.output<typeof requestEventSchema>;
