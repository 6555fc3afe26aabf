import { Packr } from "msgpackr";
import type { z } from "zod";
import { GlimpseError } from "./errors.ts";
import { isTokens } from "./is-tokens.ts";
import { controlFromWorkerSchema, dataFromWorkerSchema } from "./messages.ts";
import { refusePlainMsgpack } from "./plain-msgpack.ts";

/** A header larger than this is no message: the longest holds a prompt of text, and pictures travel in frames of their own. */
export const MAX_HEADER_BYTES = 16 * 1024 * 1024;
/** The most that one picture may weigh, encoded. */
export const MAX_MEDIA_BYTES = 64 * 1024 * 1024;
/** The most that a video file or a PDF may weigh, and so any frame on the data channel. */
export const MAX_FILE_BYTES = 256 * 1024 * 1024;
const LIMITS = { depth: 12, values: 1_000_000 };

// Integers above 2^32 become numbers; one that a number cannot hold exactly is then refused by the schema.
const packr = new Packr({ useRecords: false, variableMapSize: true, int64AsType: "number" });

/**
 * Packs a message of any channel. Fields that are undefined are left out: they never travel as nil.
 * @throws GlimpseError CONTEXT_TOO_LONG for a request whose text alone is more than a worker reads.
 */
export function encode(message: object): Buffer {
  const packed = packr.pack(withoutUndefined(message));
  if (packed.byteLength <= MAX_HEADER_BYTES) return packed;
  throw new GlimpseError(
    "CONTEXT_TOO_LONG",
    `the messages have ${packed.byteLength} bytes of text, more than the ${MAX_HEADER_BYTES} that a worker reads`,
    { hint: "Send less text: no context of this model holds so much." },
  );
}

function withoutUndefined(value: unknown): unknown {
  if (typeof value === "string") return value.toWellFormed();
  if (Array.isArray(value)) return value.map(withoutUndefined);
  if (typeof value !== "object" || value === null) return value;
  const kept = Object.entries(value).filter(([, field]) => field !== undefined);
  return Object.fromEntries(kept.map(([key, field]) => [key, withoutUndefined(field)]));
}

export const decodeControl = decoder(controlFromWorkerSchema, "control");
export const decodeData = decoder(dataFromWorkerSchema, "data", isTokens);

/**
 * A function that unpacks a frame of `channel` and throws PROTOCOL_ERROR for what is no message by `schema`. What
 * `isPlainly` accepts is one: it is asked first, where the schema takes too long.
 */
export function decoder<Schema extends z.ZodType>(
  schema: Schema,
  channel: string,
  isPlainly: (value: unknown) => value is z.output<Schema> = (_value): _value is z.output<Schema> => false,
): (frame: Uint8Array) => z.output<Schema> {
  const refusal = (reason: string) =>
    new GlimpseError("PROTOCOL_ERROR", `a frame on the ${channel} channel is not a message: ${reason}`);
  return (frame) => {
    if (frame.byteLength > MAX_HEADER_BYTES) {
      throw refusal(`it has ${frame.byteLength} bytes, more than ${MAX_HEADER_BYTES}`);
    }
    const refused = refusePlainMsgpack(frame, LIMITS);
    if (refused !== undefined) throw refusal(refused);
    const value = unpack(frame, refusal);
    if (isPlainly(value)) return value;
    const parsed = schema.safeParse(value);
    if (parsed.success) return parsed.data;
    const issue = parsed.error.issues[0];
    throw refusal(`${issue?.path.join(".") || "type"}: ${issue?.message}`);
  };
}

/** msgpackr's own refusals: a map with keys that are no strings, say. */
function unpack(frame: Uint8Array, refusal: (reason: string) => GlimpseError): unknown {
  try {
    return packr.unpack(frame);
  } catch (error) {
    throw refusal(error instanceof Error ? error.message : String(error));
  }
}
