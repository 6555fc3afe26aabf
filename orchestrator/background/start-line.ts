import { createInterface } from "node:readline";
import type { Readable } from "node:stream";
import { z } from "zod";
import { GlimpseError } from "../../protocol/errors.ts";
import { type LaunchSummary, launchSummarySchema } from "../../protocol/remote.ts";
import { defaultName } from "./place.ts";

const startLineSchema = z.strictObject({
  name: z.string().default(defaultName),
  /** What `launch()` takes, as far as it is no secret. */
  launch: launchSummarySchema,
  hubToken: z.string().optional(),
  /** 0: never. */
  idleMinutes: z.number().min(0),
});

/**
 * What the background orchestrator is told, as one line of JSON on its stdin: argv can be read by everybody on the machine.
 * The end of stdin then lets it begin.
 */
export type StartLine = z.infer<typeof startLineSchema>;

/** What clients may know of it. */
export function summaryOf({ launch, idleMinutes }: StartLine): LaunchSummary {
  return { ...launch, idleMinutes };
}

/** Reads the line. `begin` resolves at the end of `input`. */
export async function readStartLine(input: Readable): Promise<{ line: StartLine; begin: Promise<void> }> {
  const lines = createInterface({ input })[Symbol.asyncIterator]();
  const { value = "" } = await lines.next();
  const parsed = startLineSchema.safeParse(fromJson(value));
  if (!parsed.success) {
    throw new GlimpseError("INVALID_REQUEST", "stdin: expected one line of JSON with the options of the launch", {
      hint: "This command is for `glimpse up` to call.",
    });
  }
  return { line: parsed.data, begin: lines.next().then(() => undefined) };
}

function fromJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
