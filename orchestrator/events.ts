import type { Device, HeartbeatMessage, LoadingMessage, ReadyMessage } from "../protocol/messages.ts";
import type { ExitReason } from "./exit-reason.ts";
import type { LogLine } from "./worker-process.ts";

/**
 * `waiting`: no process; the next one starts after a pause, or when the device's memory has come back.
 * `starting`: the process exists and has not said hello. `stuck`: it is silent, or its step takes too long; it may come
 * back. `draining`: it finishes what is on board and gets nothing more. `failed`: no process, and none will be started.
 */
export type WorkerStateName =
  | "waiting"
  | "starting"
  | "loading"
  | "ready"
  | "stuck"
  | "draining"
  | "stopping"
  | "stopped"
  | "failed";

/** Why a worker was lost, or is about to be. */
export type LossCause =
  /** The process ended by itself, or somebody else ended it. */
  | "exited"
  /** It said that it leaves: `fault` or `failed` of the protocol. */
  | "gave up"
  /** It was ended because a step, or a stage of loading, took longer than its limit. */
  | "hung"
  /** It was ended because nothing was heard of it. */
  | "silent"
  /** It was ended because it sent what is no message. */
  | "babbled";

/** What is known of a worker that was lost. */
export interface CrashReport {
  worker: string;
  generation: number;
  pid: number | undefined;
  cause: LossCause;
  exit: ExitReason;
  /** Cause and exit in one sentence. */
  message: string;
  /** The state in which the loss, or the hang that led to it, found the worker. */
  state: WorkerStateName;
  /** The last lines of its stderr, oldest first. */
  stderr: readonly string[];
  /** The Python stacks of all threads, when it hung and could still answer. */
  stacks: string | undefined;
  /** The requests on board, and how many tokens each had. */
  running: readonly { request: string; tokens: number }[];
}

/** What happens to the workers and because of them, as it happens. */
export type WorkerEvent =
  | { type: "state"; worker: string; generation: number; state: WorkerStateName }
  /**
   * `done` and `total` are bytes, where the stage has any. `graphs` comes after `ready`, on a GPU: the worker serves
   * already, and becomes faster with each of the `total` batch sizes that it prepares for.
   */
  | ({ type: "loading"; worker: string } & Omit<LoadingMessage, "type">)
  | ({ type: "log"; worker: string } & LogLine)
  /** A worker was lost. What becomes of its requests follows as `request` events. */
  | { type: "lost"; worker: string; report: CrashReport }
  /** The next process of this worker starts in `inMs`; `failures` processes in a row ended before they were ready. */
  | { type: "restart"; worker: string; inMs: number; failures: number }
  /** The lost worker's memory on `device` has not come back; `processes` (pids) hold memory there. */
  | { type: "memory held"; worker: string; device: string; processes: readonly number[] }
  /**
   * What a loss did to a request. `resumed`: goes on after `tokens` tokens; `restarted`: begins again; `suspected`: it was
   * on board of two losses and from now on runs alone; `quarantined`: ended as POISON_REQUEST; `failed`: ended as
   * WORKER_LOST.
   */
  | {
      type: "request";
      request: string;
      worker: string;
      outcome: "resumed" | "restarted" | "suspected" | "quarantined" | "failed";
      tokens: number;
    };

export interface WorkerInfo {
  id: string;
  /** Counts the processes of this worker, from 1. */
  generation: number;
  /** Undefined while there is no process. */
  pid: number | undefined;
  state: WorkerStateName;
  /** Why the last process is no more; undefined while one runs. */
  exit: ExitReason | undefined;
  /**
   * Where it is placed: `cpu`, `cuda:0`, or several joined by a comma. Known before it is ready, but where torch chooses:
   * then it is `auto` or `cuda` until it is.
   */
  placement: string;
  /** Requests on board, the tokens that these still cost by estimate, and the bytes of their media that are in flight. */
  load: { requests: number; tokens: number; mediaBytes: number };
  /** What the last heartbeat said; undefined before the first one of this process. */
  heartbeat: Omit<HeartbeatMessage, "type"> | undefined;
  /** Known once the worker is ready. */
  device: Device | undefined;
  model: string | undefined;
  engine: ReadyMessage["engine"] | undefined;
  dtype: string | undefined;
  contextLength: number | undefined;
  /** How many requests it takes at once. */
  slots: number | undefined;
  /** How many tokens the KV cache holds, of all requests together; undefined for an engine that has none. */
  kvCacheTokens: number | undefined;
  versions: Readonly<Record<string, string>> | undefined;
}
