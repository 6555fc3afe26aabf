import { z } from "zod";
import { GlimpseError } from "../../protocol/errors.ts";
import { describe, isRecord } from "../invalid.ts";

/** Where log lines go: `console` is one. `details` are plain fields. */
export interface Logger {
  error(message: string, details: object): void;
  warn(message: string, details: object): void;
  info(message: string, details: object): void;
  debug(message: string, details: object): void;
}

const levels = ["off", "error", "warn", "info", "debug"] as const;

/** Each level has those before it. */
export type LogLevel = (typeof levels)[number];

export interface LogOptions {
  /** Default: lines on stderr, if there is a level. */
  logger?: Logger | undefined;
  /** Default: the environment variable GLIMPSE_LOG; without one `info` with a `logger`, else `off`. */
  logLevel?: LogLevel | undefined;
}

/** Each description is what the error message says was expected. */
export const logShape = {
  logger: z
    .custom<Logger>((value) => isRecord(value) && levels.slice(1).every((level) => typeof value[level] === "function"))
    .describe("an object with the functions error, warn, info and debug"),
  logLevel: z.enum(levels).describe(levels.map((level) => `"${level}"`).join(", ")),
};

/** Writes a line if its level is asked for. What the logger throws is its own, and keeps nothing from going on. */
export type Log = (level: Exclude<LogLevel, "off">, message: string, details?: object) => void;

/**
 * The log that the options, which were checked, and the environment ask for; undefined for none.
 * @throws GlimpseError INVALID_REQUEST when GLIMPSE_LOG is no level.
 */
export function makeLog({ logger, logLevel }: LogOptions, env: NodeJS.ProcessEnv = process.env): Log | undefined {
  const level = logLevel ?? readLevel(env["GLIMPSE_LOG"]) ?? (logger === undefined ? "off" : "info");
  if (level === "off") return undefined;
  const to = logger ?? stderrLogger;
  return (lineLevel, message, details = {}) => {
    if (levels.indexOf(lineLevel) > levels.indexOf(level)) return;
    try {
      to[lineLevel](message, details);
    } catch (error) {
      queueMicrotask(() => {
        throw error;
      });
    }
  };
}

function readLevel(level: string | undefined): LogLevel | undefined {
  const known = levels.find((one) => one === level);
  if (!level || known !== undefined) return known;
  const what = `GLIMPSE_LOG: expected ${logShape.logLevel.description}, got ${describe(level)}`;
  throw new GlimpseError("INVALID_REQUEST", what);
}

function toStderr(level: LogLevel): (message: string, details: object) => void {
  return (message, details) => {
    const fields = Object.keys(details).length === 0 ? "" : ` ${JSON.stringify(details)}`;
    process.stderr.write(`${new Date().toISOString()} glimpse ${level}: ${message}${fields}\n`);
  };
}

const stderrLogger: Logger = {
  error: toStderr("error"),
  warn: toStderr("warn"),
  info: toStderr("info"),
  debug: toStderr("debug"),
};
