import type { Device, LoadingMessage, ReadyMessage } from "../protocol/messages.ts";
import type { ExitReason } from "./exit-reason.ts";
import type { LogLine } from "./worker-process.ts";

export type WorkerStateName = "starting" | "loading" | "ready" | "stopping" | "stopped" | "failed";

/** What happens to the workers, as it happens. */
export type WorkerEvent =
  | { type: "state"; worker: string; state: WorkerStateName }
  /**
   * `done` and `total` are bytes, where the stage has any. `graphs` comes after `ready`, on a GPU: the worker serves
   * already, and becomes faster with each of the `total` batch sizes that it prepares for.
   */
  | ({ type: "loading"; worker: string } & Omit<LoadingMessage, "type">)
  | ({ type: "log"; worker: string } & LogLine);

export interface WorkerInfo {
  id: string;
  /** Undefined before the process exists and after it could not be started. */
  pid: number | undefined;
  state: WorkerStateName;
  /** Why the process is no more; undefined while it runs. */
  exit: ExitReason | undefined;
  /** Known once the worker is ready. */
  device: Device | undefined;
  model: string | undefined;
  engine: ReadyMessage["engine"] | undefined;
  dtype: string | undefined;
  contextLength: number | undefined;
  /** How many tokens the KV cache holds, of all requests together; undefined for an engine that has none. */
  kvCacheTokens: number | undefined;
  versions: Readonly<Record<string, string>> | undefined;
}
