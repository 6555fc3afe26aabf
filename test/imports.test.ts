import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import ts from "typescript";
import { describe, expect, test } from "vitest";
import { packageRoot, workerSource } from "../orchestrator/package-root.ts";

/** Each room may import those after it. */
const order = ["cli", "gateway", "sdk", "orchestrator", "protocol"];

/** What may be imported from outside the order; `test` is no room, and may import everything. */
const others: Record<string, readonly string[]> = {
  examples: ["sdk"],
  bench: ["sdk", "orchestrator"],
  models: ["cli", "sdk", "orchestrator"],
};

interface Import {
  /** The importing file, relative to the package's root. */
  file: string;
  /** A file of ours relative to the root, or the name of a package. */
  target: string;
  isOurs: boolean;
}

function sources(room: string, suffix: string): string[] {
  const directory = join(packageRoot, room);
  return readdirSync(directory, { recursive: true, encoding: "utf8" })
    .filter((name) => name.endsWith(suffix))
    .map((name) => join(room, name));
}

function roomOf(file: string): string {
  return file.split("/")[0] ?? "";
}

function importsOf(file: string): Import[] {
  const { importedFiles } = ts.preProcessFile(readFileSync(join(packageRoot, file), "utf8"), true, true);
  return importedFiles.map(({ fileName }) => {
    const isOurs = fileName.startsWith(".");
    const target = isOurs ? relative(packageRoot, join(packageRoot, dirname(file), fileName)) : fileName;
    return { file, target, isOurs };
  });
}

/** A folder inside a room as a whole, or a file that lies in the room itself. */
function unitOf(file: string): string {
  const directory = dirname(file);
  return directory === roomOf(file) ? file : directory;
}

/** Units that, one importing the next, come back to where they began; undefined when there are none. */
function findCycle(): string[] | undefined {
  const targets = new Map<string, Set<string>>();
  for (const { file, target, isOurs } of imports) {
    const [from, to] = [unitOf(file), unitOf(target)];
    if (isOurs && from !== to) targets.set(from, (targets.get(from) ?? new Set()).add(to));
  }
  const done = new Set<string>();
  const visit = (unit: string, path: string[]): string[] | undefined => {
    if (path.includes(unit)) return [...path.slice(path.indexOf(unit)), unit];
    if (done.has(unit)) return undefined;
    for (const target of targets.get(unit) ?? []) {
      const cycle = visit(target, [...path, unit]);
      if (cycle !== undefined) return cycle;
    }
    done.add(unit);
    return undefined;
  };
  for (const unit of targets.keys()) {
    const cycle = visit(unit, []);
    if (cycle !== undefined) return cycle;
  }
  return undefined;
}

function allowed(room: string): readonly string[] {
  return [room, ...(others[room] ?? order.slice(order.indexOf(room) + 1))];
}

const rooms = [...order, ...Object.keys(others)].filter((room) => readdirSync(packageRoot).includes(room));
const imports = rooms.flatMap((room) => sources(room, ".ts")).flatMap(importsOf);

describe("imports", () => {
  test("are found at all", () => {
    expect(imports).toContainEqual({ file: "sdk/launch.ts", target: "protocol/messages.ts", isOurs: true });
    expect(rooms).toEqual(expect.arrayContaining(["cli", "sdk", "orchestrator", "protocol"]));
  });

  test("go one way: cli → gateway → sdk → orchestrator → protocol; examples start at sdk, bench at sdk or orchestrator, models anywhere", () => {
    const against = imports.filter(
      ({ file, target, isOurs }) => isOurs && !allowed(roomOf(file)).includes(roomOf(target)),
    );
    expect(against).toEqual([]);
  });

  test("go one way inside a room too: its folders and files do not import each other in a circle", () => {
    expect(findCycle()).toBeUndefined();
  });

  test("of zeromq stand in one file, the benches apart, whose bare messages have nothing of ours around them", () => {
    const files = new Set(
      imports.filter(({ file, target }) => target === "zeromq" && roomOf(file) !== "bench").map(({ file }) => file),
    );
    expect([...files]).toHaveLength(1);
  });

  test("of zmq stand in one file of the worker", () => {
    const python = sources(join(relative(packageRoot, workerSource), "glimpse_worker"), ".py");
    const importsZmq = /^\s*(import|from) zmq\b/m;
    const files = python.filter((file) => importsZmq.test(readFileSync(join(packageRoot, file), "utf8")));
    expect(files).toHaveLength(1);
  });
});
