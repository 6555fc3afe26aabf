import { inspect } from "node:util";
import { GlimpseError } from "../protocol/errors.ts";
import { print } from "./terminal.ts";

/** 141 is what a shell reports for a program whose reader has gone. */
export const exitCodes = { good: 0, failed: 1, usage: 2, interrupted: 130, terminated: 143, readerGone: 141 } as const;

export function isDebugging(): boolean {
  return Boolean(process.env["GLIMPSE_DEBUG"]);
}

/** Says on stderr what went wrong and what to do; with GLIMPSE_DEBUG also where. Returns the exit code. */
export function reportFailure(error: unknown, about?: string): number {
  const { message, hint } = explain(error);
  const subject = about === undefined || message.includes(about) ? "" : `${about}: `;
  const lines = [`glimpse: ${subject}${message}`];
  if (hint !== undefined) lines.push(`  ${hint}`);
  if (isDebugging()) lines.push(...details(error));
  print(process.stderr, `${lines.join("\n")}\n`);
  return GlimpseError.is(error, "INVALID_REQUEST") ? exitCodes.usage : exitCodes.failed;
}

export function explain(error: unknown): { code: string; message: string; hint?: string } {
  if (GlimpseError.is(error)) {
    const { code, message, hint } = error;
    return hint === undefined ? { code, message } : { code, message, hint };
  }
  const message = error instanceof Error ? error.message : String(error);
  return { code: "UNEXPECTED", message, hint: "this is a defect of Glimpse; GLIMPSE_DEBUG=1 shows where it is" };
}

/** The stacks of an error and of what caused it; a cause may be any value, such as the last words of a process. */
function details(error: unknown): string[] {
  if (!(error instanceof Error)) return [typeof error === "string" ? error : inspect(error)];
  const lines = [error.stack ?? ""];
  if (GlimpseError.is(error) && error.traceback !== undefined) lines.push(error.traceback);
  return error.cause === undefined ? lines : [...lines, "caused by:", ...details(error.cause)];
}
