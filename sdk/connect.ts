import { z } from "zod";
import { attach } from "../orchestrator/background/attach.ts";
import { placeOf } from "../orchestrator/background/place.ts";
import { GlimpseError } from "../protocol/errors.ts";
import { Glimpse } from "./client.ts";
import { describe, invalid, isRecord, refuseUnknownKeys } from "./invalid.ts";
import { parseAllowHosts } from "./media/allow-hosts.ts";
import { workerListeners } from "./observe/lines.ts";
import { type LogOptions, logShape, makeLog } from "./observe/logger.ts";

export interface ConnectOptions extends LogOptions {
  /** Which one, as in `glimpse up --name`. Default: "default". */
  name?: string | undefined;
  /** Private or local `host:port`s that picture URLs may point at. Default: none. */
  allowHosts?: readonly string[] | undefined;
  /** Gives up connecting. It has no effect on a client that is connected. */
  signal?: AbortSignal | undefined;
}

/** Each description is what the error message says was expected. */
const shape = {
  name: z.string().describe("the name of a background orchestrator"),
  allowHosts: z.array(z.string()).describe('an array of "host:port"'),
  ...logShape,
  signal: z.instanceof(AbortSignal).describe("an AbortSignal"),
} satisfies { [Name in keyof ConnectOptions]-?: z.ZodType<ConnectOptions[Name]> };

const optionsSchema = z.object(shape).partial();

function checkOptions(options: unknown): z.output<typeof optionsSchema> {
  if (!isRecord(options)) throw invalid("connect()", "an object of options", options);
  refuseUnknownKeys(options, Object.keys(shape), "connect()");
  const parsed = optionsSchema.safeParse(options);
  if (parsed.success) return parsed.data;
  const name = String(parsed.error.issues[0]?.path[0]) as keyof typeof shape;
  const [expected, got] = [shape[name].description, describe(options[name])];
  throw new GlimpseError("INVALID_REQUEST", `connect(): ${name}: expected ${expected}, got ${got}`);
}

/**
 * Connects to the workers of `glimpse up`, and resolves when they take requests: at once, unless they are loading still.
 * `close()` ends the connection and the requests of this program; the workers go on. Rejects with a GlimpseError:
 * NOT_RUNNING, CONNECTION_LOST when it ends meanwhile, PROTOCOL_MISMATCH when it is of another version of Glimpse, ABORTED,
 * or the reason for which a start failed.
 */
export async function connect(options: ConnectOptions = {}): Promise<Glimpse> {
  const { name, signal, ...checked } = checkOptions(options);
  const log = makeLog(checked);
  const allowHosts = parseAllowHosts(checked.allowHosts ?? []);
  const { transport } = await attach(placeOf(name), signal);
  try {
    await transport.ready(signal);
  } catch (error) {
    await transport.close();
    throw error;
  }
  for (const listener of workerListeners(log)) transport.subscribe(listener);
  return new Glimpse(transport, { allowHosts, log });
}
