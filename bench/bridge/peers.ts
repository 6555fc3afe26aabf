import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { Dealer } from "zeromq";
import { startOrchestrator } from "../../orchestrator/orchestrator.ts";
import { packageRoot, workerSource } from "../../orchestrator/package-root.ts";
import { resolvePython } from "../../orchestrator/python/resolve.ts";
import { Glimpse } from "../../sdk/client.ts";

/** Python's side of the bench imports the worker's modules and those of test/gpu. */
async function prepareEnvironment(): Promise<string> {
  const python = await resolvePython();
  process.env["GLIMPSE_BENCH_PYTHON"] = python;
  const inherited = process.env["PYTHONPATH"];
  const ours = [packageRoot, workerSource, join(packageRoot, "test", "gpu")];
  if (!inherited?.startsWith(packageRoot)) {
    process.env["PYTHONPATH"] = [...ours, ...(inherited ? [inherited] : [])].join(delimiter);
  }
  return python;
}

/** A real worker process with an engine of the bench: `worker.py` knows its name. */
export async function startPeer(engine: string, device = "cpu"): Promise<Glimpse> {
  await prepareEnvironment();
  const transport = await startOrchestrator({
    python: join(import.meta.dirname, "worker.sh"),
    settings: { model: engine, device, dtype: "auto", engine: { kind: "scripted", load: "normal" } },
    onEvent: (event) => {
      if (event.type === "log") console.error(event.line);
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
