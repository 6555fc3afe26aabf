import { readdirSync, readFileSync } from "node:fs";
import { type OrchestratorOptions, startOrchestrator } from "../../orchestrator/orchestrator.ts";
import { resolvePython } from "../../orchestrator/python/resolve.ts";
import type { RequestEvent, SubmittedRequest, Transport } from "../../orchestrator/transport.ts";
import type { EngineChoice } from "../../protocol/messages.ts";

type Load = Extract<EngineChoice, { kind: "scripted" }>["load"];

/** Starts a real worker process on the scripted engine, which has 4 slots unless `slots` says otherwise. */
export async function startScripted(
  load: Load = "normal",
  options: Partial<Omit<OrchestratorOptions, "settings">> & { slots?: number } = {},
): Promise<Transport> {
  const { slots, ...rest } = options;
  return startOrchestrator({
    ...rest,
    python: options.python ?? (await resolvePython()),
    settings: {
      model: "scripted",
      device: "cpu",
      dtype: "auto",
      engine: { kind: "scripted", load, slots },
    },
  });
}

export interface Watched {
  request: SubmittedRequest;
  events: RequestEvent[];
  /** Resolves with the ending, or rejects when a second one comes. */
  ending: Promise<Extract<RequestEvent, { type: "done" | "error" }>>;
  /** Resolves when `count` tokens have come. */
  tokens(count: number): Promise<void>;
  /** Resolves with the first event. */
  first: Promise<RequestEvent>;
}

let requests = 0;

/** Submits a request for one of the scripted engine's behaviours, such as "slow 200". */
export function submit(transport: Transport, script: string, options: { maxNewTokens?: number } = {}): Watched {
  const events: RequestEvent[] = [];
  const waiting: { count: number; resolve: () => void }[] = [];
  let received = 0;
  let settle!: (ending: Extract<RequestEvent, { type: "done" | "error" }>) => void;
  const ending = new Promise<Extract<RequestEvent, { type: "done" | "error" }>>((resolve) => {
    settle = resolve;
  });
  let begin!: (event: RequestEvent) => void;
  const first = new Promise<RequestEvent>((resolve) => {
    begin = resolve;
  });
  const request = transport.submit(
    {
      id: `request-${requests++}`,
      messages: [{ role: "user", content: [{ type: "text", text: script }] }],
      media: [],
      frames: [],
      options: { seed: 1, ...options },
    },
    (event) => {
      events.push(event);
      begin(event);
      if (event.type === "tokens") received += event.ids.length;
      for (const { count, resolve } of waiting) if (received >= count) resolve();
      if (event.type === "done" || event.type === "error") settle(event);
    },
  );
  const tokens = (count: number) =>
    new Promise<void>((resolve) => {
      waiting.push({ count, resolve });
      if (received >= count) resolve();
    });
  return { request, events, ending, tokens, first };
}

export function pidOf(transport: Transport): number {
  const pid = transport.workers()[0]?.pid;
  if (pid === undefined) throw new Error("the worker has no pid");
  return pid;
}

/** Whether a process runs: a zombie, which only waits to be reaped, does not. */
export function isAlive(pid: number): boolean {
  try {
    return !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, "utf8"));
  } catch {
    return false;
  }
}

/** The worker processes that this process has started and that still run. */
export function ownWorkers(): number[] {
  const parent = new RegExp(`^PPid:\\s+${process.pid}$`, "m");
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .filter((pid) => {
      try {
        return (
          parent.test(readFileSync(`/proc/${pid}/status`, "utf8")) &&
          readFileSync(`/proc/${pid}/cmdline`, "utf8").includes("glimpse_worker")
        );
      } catch {
        // It ended while we looked.
        return false;
      }
    })
    .map(Number);
}
