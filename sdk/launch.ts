import { z } from "zod";
import type { WorkerEvent } from "../orchestrator/events.ts";
import { startOrchestrator } from "../orchestrator/orchestrator.ts";
import { embeddedModel } from "../orchestrator/package-root.ts";
import { resolvePython } from "../orchestrator/python/resolve.ts";
import { GlimpseError } from "../protocol/errors.ts";
import { type Dtype, dtypeSchema, type EngineChoice } from "../protocol/messages.ts";
import { Glimpse } from "./client.ts";
import { describe, invalid, isRecord, refuseUnknownKeys } from "./invalid.ts";
import { parseAllowHosts } from "./media/allow-hosts.ts";

export interface LaunchOptions {
  /** A directory with a Glm4v checkpoint, or its id on the Hugging Face hub. Default: the embedded model. */
  model?: string | undefined;
  /** Branch, tag or commit of an id. Default: main. */
  revision?: string | undefined;
  /** For gated or private ids. Default: what huggingface_hub finds (HF_TOKEN, or a login). */
  hubToken?: string | undefined;
  /** `auto` (the first GPU, else the CPU), `cpu`, `cuda` or `cuda:N`, which is torch's name for AMD GPUs too. Default: auto. */
  device?: string | undefined;
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
  engine: z.enum(["paged", "reference"]).describe('"paged" or "reference"'),
  kvCacheMemoryBytes: z.int().min(1).describe("a whole number of at least 1"),
  python: z.string().min(1).describe("the path or name of a Python interpreter"),
  allowHosts: z.array(z.string()).describe('an array of "host:port"'),
  signal: z.instanceof(AbortSignal).describe("an AbortSignal"),
  onEvent: z.custom<(event: WorkerEvent) => void>((value) => typeof value === "function").describe("a function"),
} satisfies { [Name in keyof LaunchOptions]-?: z.ZodType<LaunchOptions[Name]> };

const launchOptionsSchema = z.object(shape).partial();

function checkLaunchOptions(options: unknown): z.output<typeof launchOptionsSchema> {
  if (!isRecord(options)) throw invalid("launch()", "an object of options", options);
  refuseUnknownKeys(options, Object.keys(shape), "launch()");
  const parsed = launchOptionsSchema.safeParse(options);
  if (parsed.success) return parsed.data;
  const name = String(parsed.error.issues[0]?.path[0]) as keyof typeof shape;
  const shown = name === "hubToken" ? `a ${typeof options[name]}` : describe(options[name]);
  throw new GlimpseError("INVALID_REQUEST", `launch(): ${name}: expected ${shape[name].description}, got ${shown}`);
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

/**
 * Starts a worker, loads the model and resolves when it takes requests. Rejects with a GlimpseError that names what is
 * missing: Python, a package, the model, the device.
 */
export async function launch(options: LaunchOptions = {}): Promise<Glimpse> {
  const checked = checkLaunchOptions(options);
  const engine = chooseEngine(checked);
  const allowHosts = parseAllowHosts(checked.allowHosts ?? []);
  const transport = await startOrchestrator({
    python: await resolvePython(checked.python),
    settings: {
      model: checked.model ?? embeddedModel,
      revision: checked.revision,
      hubToken: checked.hubToken,
      device: checked.device ?? "auto",
      dtype: checked.dtype ?? "auto",
      engine,
    },
    signal: checked.signal,
    onEvent: checked.onEvent,
  });
  return new Glimpse(transport, { allowHosts });
}
