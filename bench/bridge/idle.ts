/**
 * What an idle pool costs: the processor time of this process and of its workers, which run the scripted engine.
 *
 *     npx tsx bench/bridge/idle.ts [--workers 8] [--seconds 30]
 */
import { readdirSync, readFileSync } from "node:fs";
import { setTimeout as delay } from "node:timers/promises";
import { parseArgs } from "node:util";
import { print, row } from "./figures.ts";
import { startScripted } from "./peers.ts";
import { now } from "./stamps.ts";

/** Of one core, all together. */
const TARGET = { most: 1 };
/** What the kernel calls a second in /proc: USER_HZ. */
const TICKS_PER_SECOND = 100;

interface Process {
  group: number;
  /** Of processor time, its threads together. */
  seconds: number;
}

function processOf(pid: string | number): Process {
  const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
  // The second field, the name, is in brackets and may hold anything.
  const fields = stat
    .slice(stat.lastIndexOf(")") + 2)
    .split(" ")
    .map(Number);
  const [user = 0, system = 0] = fields.slice(11);
  return { group: fields[2] ?? 0, seconds: (user + system) / TICKS_PER_SECOND };
}

/** Seconds of this process, and of each worker with what it has started. */
function measure(workers: readonly number[]): number[] {
  const all = readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .flatMap((pid) => {
      try {
        return processOf(pid);
      } catch {
        // It ended while we looked.
        return [];
      }
    });
  const ofGroup = (group: number) => all.filter((it) => it.group === group).reduce((sum, it) => sum + it.seconds, 0);
  return [processOf(process.pid).seconds, ...workers.map(ofGroup)];
}

const { values } = parseArgs({
  options: { workers: { type: "string", default: "8" }, seconds: { type: "string", default: "30" } },
});

await using glm = await startScripted(Number(values.workers));
const pids = glm.workers().map(({ pid }) => pid ?? 0);
// What comes with the start is over.
await delay(2000);
const begun = now();
const before = measure(pids);
await delay(1000 * Number(values.seconds));
const after = measure(pids);
const seconds = (now() - begun) / 1e9;
const shares = after.map((value, index) => (100 * (value - (before[index] ?? 0))) / seconds);
const [node = 0, ...workers] = shares;
const all = workers.reduce((sum, share) => sum + share, 0);
print(`${workers.length} idle workers, ${seconds.toFixed(0)} s, of one core`, [
  row("the process of the orchestrator", [node], "%"),
  row("a worker", workers, "%"),
  row("all workers", [all], "%"),
  row("all processes", [node + all], "%", TARGET),
]);
