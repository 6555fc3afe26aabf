import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { Dealer } from "zeromq";
import type { WorkerEvent } from "../../orchestrator/events.ts";
import { startOrchestrator } from "../../orchestrator/orchestrator.ts";
import { packageRoot, workerSource } from "../../orchestrator/package-root.ts";
import { resolvePython } from "../../orchestrator/python/resolve.ts";
import { Glimpse } from "../../sdk/client.ts";

const inheritedPath = process.env["PYTHONPATH"];

/** Python's side of the bench imports the worker's modules and those of test/gpu. */
async function prepareEnvironment(): Promise<string> {
  const python = await resolvePython();
  process.env["GLIMPSE_BENCH_PYTHON"] = python;
  process.env["PYTHONPATH"] = [packageRoot, workerSource, join(packageRoot, "test", "gpu")]
    .concat(inheritedPath ?? [])
    .join(delimiter);
  return python;
}

export interface PoolOptions {
  /** Default: the CPU. */
  device?: string;
  /** Default: 1. */
  workers?: number;
  onEvent?: (event: WorkerEvent) => void;
}

/** Real worker processes with an engine of the bench: `worker.py` knows its name. */
export async function startPool(engine: string, options: PoolOptions = {}): Promise<Glimpse> {
  await prepareEnvironment();
  return start(join(import.meta.dirname, "worker.sh"), engine, options);
}

/** Shipped worker processes on the scripted engine. */
export async function startScripted(workers: number): Promise<Glimpse> {
  return start(await resolvePython(), "scripted", { workers });
}

async function start(python: string, model: string, options: PoolOptions): Promise<Glimpse> {
  const { device = "cpu", workers = 1, onEvent = () => {} } = options;
  const transport = await startOrchestrator({
    python,
    settings: { model, device, dtype: "auto", engine: { kind: "scripted", load: "normal" } },
    workers,
    onEvent: (event) => {
      if (event.type === "log") console.error(`${event.worker}: ${event.line}`);
      onEvent(event);
    },
  });
  return new Glimpse(transport, { allowHosts: new Set() });
}

/** A process with a DEALER of pyzmq, and ours that it has connected to. */
export interface Bare extends AsyncDisposable {
  socket: Dealer;
}

export async function startBare(): Promise<Bare> {
  const python = await prepareEnvironment();
  const directory = mkdtempSync(join(tmpdir(), "glimpse-bare-"));
  const endpoint = `ipc://${join(directory, "socket")}`;
  const socket = new Dealer({ linger: 0 });
  await socket.bind(endpoint);
  const child = spawn(python, ["-P", "-m", "bench.bridge.bare", endpoint], { stdio: ["ignore", "inherit", "inherit"] });
  await socket.receive();
  return {
    socket,
    async [Symbol.asyncDispose]() {
      socket.close();
      child.kill();
      await once(child, "exit");
      rmSync(directory, { recursive: true });
    },
  };
}
