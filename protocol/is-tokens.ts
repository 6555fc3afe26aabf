import type { DataFromWorker } from "./messages.ts";

/**
 * Whether `value` is a `tokens` message as its schema says, of text only. Every token passes here, and the schema, which
 * has to name what is wrong, takes a sixth of a token's whole way from the engine to the caller. What this declines may
 * still be a message.
 */
export function isTokens(value: unknown): value is DataFromWorker & { type: "tokens" } {
  return isRecord(value, 2) && value["type"] === "tokens" && isListOf(value["items"], isItem);
}

function isItem(value: unknown): boolean {
  if (!isRecord(value, 5)) return false;
  const { request, attempt, index, ids, parts } = value;
  const isKey = typeof request === "string" && request.length >= 1 && request.length <= 64 && isCount(attempt);
  return isKey && isCount(index) && isListOf(ids, isCount) && isListOf(parts, isWritten);
}

function isWritten(value: unknown): boolean {
  if (!isRecord(value, 2)) return false;
  const { kind, text } = value;
  return typeof text === "string" && (kind === "text" || kind === "thinking" || kind === "markup");
}

function isRecord(value: unknown, fields: number): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && Object.keys(value).length === fields;
}

function isListOf(value: unknown, isOne: (one: unknown) => boolean): boolean {
  return Array.isArray(value) && value.every(isOne);
}

function isCount(value: unknown): boolean {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}
