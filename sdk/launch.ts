import { z } from "zod";
import type { WorkerEvent } from "../orchestrator/events.ts";
import type { OnWorkerLoss } from "../orchestrator/failover.ts";
import { embeddedModel } from "../orchestrator/package-root.ts";
import { Subscribers } from "../orchestrator/subscribers.ts";
import { defaultLimits, type Limits } from "../orchestrator/supervision/limits.ts";
import type { Transport } from "../orchestrator/transport.ts";
import { GlimpseError } from "../protocol/errors.ts";
import { type Dtype, dtypeSchema, type EngineChoice } from "../protocol/messages.ts";
import { Glimpse } from "./client.ts";
import { describe, invalid, isRecord, refuseUnknownKeys } from "./invalid.ts";
import { parseAllowHosts } from "./media/allow-hosts.ts";
import { workerListeners } from "./observe/lines.ts";
import { type LogOptions, logShape, makeLog } from "./observe/logger.ts";

export interface LaunchOptions extends LogOptions {
  /** A directory with a Glm4v checkpoint, or its id on the Hugging Face hub. Default: the embedded model. */
  model?: string | undefined;
  /** Branch, tag or commit of an id. Default: main. */
  revision?: string | undefined;
  /** For gated or private ids. Default: what huggingface_hub finds (HF_TOKEN, or a login). */
  hubToken?: string | undefined;
  /**
   * `auto` (the GPUs, else the CPU), `cpu`, `cuda` or `cuda:N`, which is torch's name for AMD GPUs too. Default: auto.
   */
  device?: string | undefined;
  /**
   * How many workers, each with the whole model: `auto` is one per GPU that the process may use, or one on the CPU; a
   * number; or a list of devices such as `["cuda:0", "cuda:2"]`. Default: auto.
   */
  workers?: "auto" | number | readonly string[] | undefined;
  /** Spreads the layers of each worker over so many GPUs, for models that one does not hold; engine `reference` only. Default: 1. */
  gpusPerWorker?: number | undefined;
  /**
   * What becomes of a request whose worker is lost in the middle of the answer. `resume`: another worker goes on after the
   * tokens that the caller has. `restart`: another worker begins again, and what the caller has is not delivered twice.
   * `fail`: it ends as WORKER_LOST. With `resume` and `restart`, a request without tokens is simply tried again. Default:
   * resume; with engine `reference`, which cannot resume, greedy requests restart and sampled ones fail.
   */
  onWorkerLoss?: OnWorkerLoss | undefined;
  /** How many requests may wait for a worker; more are refused as QUEUE_FULL. Default: 10,000. */
  queueLimit?: number | undefined;
  /** How long a worker may take for what, in milliseconds, before it is replaced. The defaults suit the 9B model. */
  limits?: Partial<Limits> | undefined;
  /** Default `auto`: the checkpoint's own on a GPU, float32 on a CPU. */
  dtype?: Dtype | undefined;
  /**
   * Default `paged`: all requests in one batch. `reference` is transformers' own `generate`, one request at a time; it
   * refuses the option `maxThinkingTokens`.
   */
  engine?: "paged" | "reference" | undefined;
  /**
   * How many bytes of the device's memory hold the keys and values of tokens, with engine `paged` only. Default: on a GPU
   * nine tenths of what is free after the weights, on a CPU a quarter of the free memory; never more than the requests of
   * one batch can fill. The context is cut to what fits.
   */
  kvCacheMemoryBytes?: number | undefined;
  /** An interpreter that has torch and transformers. Default: GLIMPSE_PYTHON, else the environment of `glimpse setup`. */
  python?: string | undefined;
  /** Private or local `host:port`s that picture URLs may point at. Default: none. */
  allowHosts?: readonly string[] | undefined;
  /** Gives up the launch. It has no effect on a running model. */
  signal?: AbortSignal | undefined;
  /** Progress of loading, changes of state, and the log lines of the workers. */
  onEvent?: ((event: WorkerEvent) => void) | undefined;
}

/** Each description is what the error message says was expected. */
const shape = {
  model: z.string().min(1).describe("a directory or an id such as zai-org/GLM-4.1V-9B-Thinking"),
  revision: z.string().min(1).describe("a branch, tag or commit"),
  hubToken: z.string().min(1).describe("a token of the Hugging Face hub"),
  device: z
    .string()
    .regex(/^(auto|cpu|cuda(:\d+)?)$/)
    .describe('"auto", "cpu", "cuda" or "cuda:N"'),
  dtype: dtypeSchema.describe(dtypeSchema.options.map((name) => `"${name}"`).join(", ")),
  workers: z
    .union([z.literal("auto"), z.int().min(1), z.array(z.string()).min(1)])
    .describe('"auto", a whole number of at least 1, or a list of devices'),
  gpusPerWorker: z.int().min(1).describe("a whole number of at least 1"),
  onWorkerLoss: z.enum(["resume", "restart", "fail"]).describe('"resume", "restart" or "fail"'),
  queueLimit: z.int().min(0).describe("a whole number of at least 0"),
  limits: z.custom<Partial<Limits>>(isRecord).describe("an object of limits in milliseconds"),
  engine: z.enum(["paged", "reference"]).describe('"paged" or "reference"'),
  kvCacheMemoryBytes: z.int().min(1).describe("a whole number of at least 1"),
  python: z.string().min(1).describe("the path or name of a Python interpreter"),
  allowHosts: z.array(z.string()).describe('an array of "host:port"'),
  ...logShape,
  signal: z.instanceof(AbortSignal).describe("an AbortSignal"),
  onEvent: z.custom<(event: WorkerEvent) => void>((value) => typeof value === "function").describe("a function"),
} satisfies { [Name in keyof LaunchOptions]-?: z.ZodType<LaunchOptions[Name]> };

const launchOptionsSchema = z.object(shape).partial();

function checkLaunchOptions(options: unknown): z.output<typeof launchOptionsSchema> {
  if (!isRecord(options)) throw invalid("launch()", "an object of options", options);
  refuseUnknownKeys(options, Object.keys(shape), "launch()");
  const parsed = launchOptionsSchema.safeParse(options);
  if (parsed.success) {
    checkLimits(parsed.data.limits);
    return parsed.data;
  }
  const name = String(parsed.error.issues[0]?.path[0]) as keyof typeof shape;
  const shown = name === "hubToken" ? `a ${typeof options[name]}` : describe(options[name]);
  throw new GlimpseError("INVALID_REQUEST", `launch(): ${name}: expected ${shape[name].description}, got ${shown}`);
}

function checkLimits(limits: Partial<Limits> = {}): void {
  refuseUnknownKeys({ ...limits }, Object.keys(defaultLimits), "launch(): limits");
  for (const [name, limit] of Object.entries<unknown>(limits)) {
    const good = limit === undefined || (typeof limit === "number" && limit > 0);
    if (!good) throw invalid(`launch(): limits.${name}`, "a number above 0", limit);
  }
}

function chooseEngine({ engine = "paged", kvCacheMemoryBytes }: LaunchOptions): EngineChoice {
  if (engine === "paged") return { kind: engine, kvCacheMemoryBytes };
  if (kvCacheMemoryBytes === undefined) return { kind: engine };
  throw new GlimpseError(
    "INVALID_REQUEST",
    `launch(): kvCacheMemoryBytes: expected it only with engine "paged", got it with engine "${engine}"`,
    { hint: 'Leave it out, or launch with engine "paged".' },
  );
}

function refuseSpreading({ engine = "paged", gpusPerWorker = 1 }: LaunchOptions): void {
  if (gpusPerWorker === 1 || engine === "reference") return;
  const what = `launch(): gpusPerWorker: expected 1 with engine "${engine}", got ${gpusPerWorker}`;
  throw new GlimpseError("INVALID_REQUEST", what, {
    hint: 'Launch with engine "reference", which can spread a model over several GPUs.',
  });
}

/**
 * Starts the workers, loads the model into each and resolves when all take requests. Rejects with a GlimpseError that
 * names what is missing: Python, a package, the model, the device.
 */
export async function launch(options: LaunchOptions = {}): Promise<Glimpse> {
  const checked = checkLaunchOptions(options);
  const allowHosts = parseAllowHosts(checked.allowHosts ?? []);
  const log = makeLog(checked);
  const heard = new Subscribers();
  for (const listener of [...workerListeners(log), ...(checked.onEvent ? [checked.onEvent] : [])]) heard.add(listener);
  const transport = await startTransport({ ...checked, onEvent: (event) => heard.tell(event) });
  return new Glimpse(transport, { allowHosts, log });
}

/** What `launch()` does before there is a client. Rejects as it does. */
export async function startTransport(options: LaunchOptions): Promise<Transport> {
  const checked = checkLaunchOptions(options);
  const engine = chooseEngine(checked);
  refuseSpreading(checked);
  // Loaded by who launches: a program that connects to workers which run already need not wait for it.
  const [{ startOrchestrator }, { resolvePython }] = await Promise.all([
    import("../orchestrator/orchestrator.ts"),
    import("../orchestrator/python/resolve.ts"),
  ]);
  return startOrchestrator({
    python: await resolvePython(checked.python),
    settings: {
      model: checked.model ?? embeddedModel,
      revision: checked.revision,
      hubToken: checked.hubToken,
      device: checked.device ?? "auto",
      dtype: checked.dtype ?? "auto",
      engine,
    },
    workers: checked.workers,
    gpusPerWorker: checked.gpusPerWorker,
    onWorkerLoss: checked.onWorkerLoss,
    queueLimit: checked.queueLimit,
    limits: checked.limits,
    signal: checked.signal,
    onEvent: checked.onEvent,
  });
}
