import { z } from "zod";
import { GIB, MIB } from "./accelerator.ts";
import type { RunTool } from "./tool.ts";

/** What a tool printed as JSON, checked; else why there is nothing. */
export type JsonAnswer<T> = { kind: "value"; value: T } | { kind: "missing" } | { kind: "silent"; reason: string };

/** Asks for JSON. AMD's tools print warnings before it, on the same stream: about groups, or a low-power state. */
export async function askForJson<T>(
  run: RunTool,
  tool: string,
  args: readonly string[],
  schema: z.ZodType<T>,
): Promise<JsonAnswer<T>> {
  const answer = await run(tool, [...args, "--json"]);
  if (answer.kind !== "answered") return answer;
  const start = /^[ \t]*[[{]/m.exec(answer.output)?.index;
  const parsed = schema.safeParse(start === undefined ? undefined : parse(answer.output.slice(start)));
  if (parsed.success) return { kind: "value", value: parsed.data };
  const said = answer.output.trim().slice(0, 200) || "nothing";
  const reason = `${tool} ${args.join(" ")} (exit code ${answer.exitCode}) said what Glimpse cannot read: ${said}`;
  return { kind: "silent", reason };
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

const units = new Map([
  ["B", 1],
  ["KB", 2 ** 10],
  ["MB", MIB],
  ["GB", GIB],
]);

/** Bytes, or undefined for "N/A". amd-smi writes `{ value, unit }`, its first versions a number or "12 MB". Powers of 2. */
export const quantity = z
  .union([
    z.object({ value: z.number().min(0), unit: z.string() }),
    z
      .number()
      .min(0)
      .transform((value) => ({ value, unit: "B" })),
    z.templateLiteral([z.number(), " ", z.enum(["B", "KB", "MB", "GB"])]).transform((text) => {
      const [value, unit = ""] = text.split(" ");
      return { value: Number(value), unit };
    }),
  ])
  .transform(({ value, unit }) => {
    const factor = units.get(unit.toUpperCase());
    return factor === undefined ? undefined : Math.round(value * factor);
  })
  .or(z.unknown().transform(() => undefined))
  .optional();
