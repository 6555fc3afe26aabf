import { readFileSync, renameSync, writeFileSync } from "node:fs";
import { z } from "zod";
import { launchSummarySchema } from "../../protocol/remote.ts";
import type { Place } from "./place.ts";

/** What a background orchestrator writes down about itself. It holds no secrets. */
const stateSchema = z.object({
  pid: z.int().min(1),
  /** Glimpse's own. */
  version: z.string(),
  /** ISO 8601. */
  started: z.string(),
  options: launchSummarySchema,
});
export type State = z.infer<typeof stateSchema>;

export function writeState({ state: path }: Place, state: State): void {
  writeFileSync(`${path}.new`, `${JSON.stringify(state, undefined, 2)}\n`, { mode: 0o600 });
  renameSync(`${path}.new`, path);
}

/** Undefined when there is none. It says nothing about whether the process still runs. */
export function readState({ state: path }: Place): State | undefined {
  try {
    return stateSchema.safeParse(JSON.parse(readFileSync(path, "utf8"))).data;
  } catch {
    return undefined;
  }
}
