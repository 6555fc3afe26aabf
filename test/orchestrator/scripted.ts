import { readdirSync, readFileSync } from "node:fs";
import type { WorkerEvent, WorkerStateName } from "../../orchestrator/events.ts";
import { type OrchestratorOptions, startOrchestrator } from "../../orchestrator/orchestrator.ts";
import { resolvePython } from "../../orchestrator/python/resolve.ts";
import type { RequestEvent, Submission, SubmittedRequest, Transport } from "../../orchestrator/transport.ts";
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
  id: string;
  request: SubmittedRequest;
  events: RequestEvent[];
  /** Resolves with the ending. */
  ending: Promise<Extract<RequestEvent, { type: "done" | "error" }>>;
  /** Resolves when `count` tokens have come. */
  tokens(count: number): Promise<void>;
  /** Resolves with the first event. */
  first: Promise<RequestEvent>;
}

let requests = 0;

/** Submits a request for one of the scripted engine's behaviours, such as "slow 200". */
export function submit(
  transport: Transport,
  script: string,
  options: Partial<Submission["options"]> = {},
  more: Partial<Submission> = {},
  onEvent: (event: RequestEvent) => void = () => {},
): Watched {
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
  const id = `request-${requests++}`;
  const request = transport.submit(
    {
      id,
      messages: [{ role: "user", content: [{ type: "text", text: script }] }],
      media: [],
      frames: [],
      options: { seed: 1, ...options },
      ...more,
    },
    (event) => {
      events.push(event);
      begin(event);
      if (event.type === "tokens") received += event.ids.length;
      for (const { count, resolve } of waiting) if (received >= count) resolve();
      if (event.type === "done" || event.type === "error") settle(event);
      onEvent(event);
    },
  );
  const tokens = (count: number) =>
    new Promise<void>((resolve) => {
      waiting.push({ count, resolve });
      if (received >= count) resolve();
    });
  return { id, request, events, ending, tokens, first };
}

/** The answer, as far as it has come. */
export function textOf({ events }: Watched): string {
  const parts = events.flatMap((event) => (event.type === "tokens" ? event.parts : []));
  return parts.map((part) => (part.kind === "text" ? part.text : "")).join("");
}

export function endingsOf({ events }: Watched): RequestEvent[] {
  return events.filter(({ type }) => type === "done" || type === "error");
}

/** Keeps what happens to the workers. */
export class Recorder {
  readonly events: WorkerEvent[] = [];
  readonly #looks = new Set<() => void>();

  readonly onEvent = (event: WorkerEvent): void => {
    this.events.push(event);
    for (const look of [...this.#looks]) look();
  };

  of<Type extends WorkerEvent["type"]>(type: Type): Extract<WorkerEvent, { type: Type }>[] {
    return this.events.filter((event): event is Extract<WorkerEvent, { type: Type }> => event.type === type);
  }

  /** Resolves when so many events of that type, and in that state if one is given, have come. */
  async until(type: WorkerEvent["type"], count = 1, state?: WorkerStateName): Promise<void> {
    const enough = (): boolean =>
      this.of(type).filter((event) => state === undefined || ("state" in event && event.state === state)).length >=
      count;
    await new Promise<void>((resolve) => {
      const look = (): void => {
        if (!enough()) return;
        this.#looks.delete(look);
        resolve();
      };
      this.#looks.add(look);
      look();
    });
  }
}

export function pidOf(transport: Transport, index = 0): number {
  const pid = transport.workers()[index]?.pid;
  if (pid === undefined) throw new Error("the worker has no pid");
  return pid;
}

/** Whether a process runs: a zombie, which only waits to be reaped, does not. */
export function isAlive(pid: number): boolean {
  try {
    return !/^State:\s+[ZX]/m.test(readFileSync(`/proc/${pid}/status`, "utf8"));
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
