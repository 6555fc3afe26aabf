/**
 * Brings a pool of three workers on the scripted engine into a state and says so on stdout; the test kills it there:
 * launches-a-pool.ts STATE
 */
import { startOrchestrator } from "../../orchestrator/orchestrator.ts";
import type { Transport } from "../../orchestrator/transport.ts";
import { FaultyWorkers } from "../chaos/faulty.ts";

const WORKERS = 3;
const state = process.argv[2];
const faulty = await FaultyWorkers.make();
const each = [...Array(WORKERS).keys()];

function start(): Promise<Transport> {
  return startOrchestrator({
    python: faulty.python,
    settings: { model: "scripted", device: "cpu", dtype: "auto", engine: { kind: "scripted", load: "normal" } },
    workers: WORKERS,
  });
}

/** Resolves when each worker has a child of its own, and a stream under way. */
async function streaming(transport: Transport): Promise<void> {
  await Promise.all(each.map((index) => happens(transport, `children-${index}`, "children 2", "done")));
  await Promise.all(each.map((index) => happens(transport, `slow-${index}`, "slow 5000", "tokens")));
}

function happens(transport: Transport, id: string, script: string, wanted: "tokens" | "done"): Promise<void> {
  const messages = [{ role: "user" as const, content: [{ type: "text" as const, text: script }] }];
  return new Promise((resolve, reject) => {
    transport.submit({ id, messages, media: [], frames: [], options: { seed: 1 } }, (event) => {
      if (event.type === wanted) resolve();
      if (event.type === "error") reject(event.error);
    });
  });
}

switch (state) {
  case "starting":
  case "loading": {
    const held = each.map(() => faulty.heldNext(state));
    void start();
    await Promise.all(held);
    break;
  }
  case "idle":
    await start();
    break;
  case "streaming":
    await streaming(await start());
    break;
  case "draining": {
    const transport = await start();
    await streaming(transport);
    void transport.restart();
    break;
  }
  case "stopping": {
    const transport = await start();
    await streaming(transport);
    const held = transport.workers().map(({ pid }) => faulty.held(pid as number, "shutdown"));
    void transport.close();
    await Promise.all(held);
    break;
  }
  default:
    throw new Error(`no such state: ${state}`);
}
process.stdout.write("there\n");
