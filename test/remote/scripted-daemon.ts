/** What `glimpse up` starts, with the scripted engine instead of a model. */
import { runDaemon } from "../../orchestrator/background/daemon.ts";
import { placeOf } from "../../orchestrator/background/place.ts";
import { readStartLine, summaryOf } from "../../orchestrator/background/start-line.ts";
import { startScripted } from "../orchestrator/scripted.ts";

const ending = new AbortController();
process.on("SIGTERM", () => ending.abort());
const { line, begin } = await readStartLine(process.stdin);
const load = line.launch["load"] as "normal" | "slow" | "hang" | "fail";
await runDaemon({
  place: placeOf(line.name),
  summary: summaryOf(line),
  idleMs: line.idleMinutes * 60_000,
  signal: ending.signal,
  start: (onEvent, signal) => startScripted(load, { onEvent, signal }),
  begin,
  onBound: (outcome) => void process.stdout.write(`${outcome}\n`),
});
process.exit(0);
