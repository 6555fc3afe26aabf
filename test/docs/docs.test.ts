import { execFileSync } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { expect, test } from "vitest";
import { embeddedModel, packageRoot } from "../../orchestrator/package-root.ts";
import { errorCodes } from "../../protocol/errors.ts";
import { renderApi } from "./api-reference.ts";

const read = (path: string) => readFileSync(join(packageRoot, path), "utf8");

function run(program: string, ...args: string[]): string {
  return execFileSync(process.execPath, ["--import", "tsx", program, ...args], {
    cwd: packageRoot,
    encoding: "utf8",
    timeout: 60_000,
  });
}

test("the first program of the README runs as it stands", () => {
  const code = /```ts\n([\s\S]*?)```/.exec(read("README.md"))?.[1] ?? "";
  expect(code.trim().split("\n").length).toBeLessThanOrEqual(10);
  const directory = mkdtempSync(join(tmpdir(), "glimpse-readme-"));
  // No package.json there says that it is a module.
  const program = join(directory, "program.mts");
  const sdk = pathToFileURL(join(packageRoot, "sdk", "index.ts")).href;
  writeFileSync(program, code.replace('"glimpse"', JSON.stringify(sdk)));
  try {
    const output = run(program);
    expect(output).toContain("A red circle, an orange star and a blue square on a white background.");
    expect(output).toContain("promptTokens");
  } finally {
    rmSync(directory, { recursive: true });
  }
});

test("the article's script prints the raw text of the embedded model", () => {
  const image = join(packageRoot, "examples", "pictures", "shapes.png");
  expect(run("examples/article.ts", "--model", embeddedModel, "--image", image)).toBe(
    "<think>I see 3 shapes.</think><answer>A red circle, an orange star and a blue square on a white background.</answer><|user|>\n",
  );
});

test("the example of a receipt prints what the picture says", () => {
  const lines = [
    "Harbour Cafe",
    "  Espresso    2.80",
    "  Bagel       3.20",
    "  Juice       4.50",
    "  total      10.50",
  ];
  expect(run("examples/receipt.ts")).toBe(`${lines.join("\n")}\n`);
});

test("docs/API.md is what the sources say", () => {
  expect(read("docs/API.md"), "npx tsx test/docs/api-reference.ts writes it").toBe(renderApi());
});

test("docs/ERRORS.md lists every code with its meaning", () => {
  const lines = read("docs/ERRORS.md").match(/^\| [A-Z_]+ +\|.*$/gm) ?? [];
  const rows = lines.map((line) => line.replace(/ +\|/g, " |"));
  const expected = Object.entries(errorCodes).map(
    ([code, { meaning, retryable }]) => `| ${code} | ${meaning} | ${retryable ? "yes" : "no"} |`,
  );
  expect(rows).toEqual(expected);
});

test("every error code is thrown somewhere", () => {
  const rooms = ["sdk", "orchestrator", "protocol", "cli", "python-worker/glimpse_worker"];
  const sources = rooms.flatMap((room) =>
    readdirSync(join(packageRoot, room), { recursive: true, encoding: "utf8" })
      // The scripted engine fails as it is told to, which no user can make happen.
      .filter((name) => /\.(ts|py)$/.test(name) && !/engine\/script/.test(name))
      .map((name) => read(join(room, name))),
  );
  // An error that is made, in either language, or the worker's message that carries one. Not a list or a comparison.
  const made = /\b(?:new GlimpseError|WorkerFailure)\(\s*"([A-Z_]+)"|\bcode="([A-Z_]+)"/g;
  const thrown = new Set(
    sources.flatMap((source) => [...source.matchAll(made)].map(([, code, named]) => code ?? named)),
  );
  expect(Object.keys(errorCodes).filter((code) => !thrown.has(code))).toEqual([]);
});

test("every link of the pages leads to a file", () => {
  const pages = [
    "README.md",
    "models/README.md",
    "models/embedded/README.md",
    "models/training/README.md",
    "docs/ARCHITECTURE.md",
    "docs/BACKGROUND.md",
    "docs/WORKERS.md",
    "docs/AI-SDK.md",
    "docs/API.md",
    "docs/CLIENTS.md",
    "docs/MEDIA.md",
    "docs/SDK.md",
    "docs/ERRORS.md",
    "docs/STRUCTURED.md",
  ];
  for (const page of pages) {
    for (const [, target = ""] of read(page).matchAll(/\]\(([^)#:]+)\)/g)) {
      expect(() => readdirOrFile(join(packageRoot, page, "..", target)), `${page}: ${target}`).not.toThrow();
    }
  }
});

function readdirOrFile(path: string): void {
  try {
    readFileSync(path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "EISDIR") throw error;
  }
}
