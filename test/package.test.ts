import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { checkPackage, createPackageFromTarballData } from "@arethetypeswrong/core";
import { execa } from "execa";
import { publint } from "publint";
import { formatMessage } from "publint/utils";
import ts from "typescript";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { packageRoot } from "../orchestrator/package-root.ts";
import { resolvePython } from "../orchestrator/python/resolve.ts";
import { packedProject } from "./packed-project.ts";

/** An empty project that has installed the packed package, and is no checkout. */
let project: string;
/** The package as it would be published. */
let tarball: string;

let remove: () => void;

beforeAll(async () => {
  ({ directory: project, tarball, remove } = await packedProject());
}, 180_000);

afterAll(() => remove());

/** Without the environment that a checkout or an earlier set-up of this user may have. */
function inProject(command: string, args: string[]) {
  const env = { XDG_CACHE_HOME: join(project, "cache"), GLIMPSE_PYTHON: undefined };
  return execa(command, args, { cwd: project, env, reject: false, stdin: "ignore" });
}

describe("the package, installed in an empty project", () => {
  test("holds the worker, the embedded model, the locks, the licence and the pages that errors name, and no tests", () => {
    const installed = join(project, "node_modules", "glimpse");
    const files = readdirSync(installed, { recursive: true, encoding: "utf8" }).filter(
      (file) => !file.startsWith("node_modules"),
    );
    expect(files).toEqual(
      expect.arrayContaining([
        "LICENSE",
        "dist/sdk/index.js",
        "dist/sdk/index.d.ts",
        "docs/STRUCTURED.md",
        "examples/pictures/shapes.png",
        "models/embedded/model.safetensors",
        "python-worker/glimpse_worker/__main__.py",
        "python-worker/requirements/runtime.txt",
      ]),
    );
    expect(files.filter((file) => /test|__pycache__|\.ts$/.test(file) && !file.endsWith(".d.ts"))).toEqual([]);
    expect(files.filter((file) => file.includes("vectors"))).toEqual([]);
  });

  test("can be imported by its name", async () => {
    const code =
      'import { launch, image, video, GlimpseError } from "glimpse"; console.log([launch, image, video, GlimpseError].map((it) => typeof it).join());';
    const { stdout, stderr } = await inProject(process.execPath, ["--input-type=module", "--eval", code]);
    expect(stderr).toBe("");
    expect(stdout).toBe("function,function,function,function");
  });

  test("has the AI SDK's provider under a name of its own", async () => {
    const code = 'import { createGlimpse } from "glimpse/ai-sdk"; console.log(typeof createGlimpse);';
    const { stdout, stderr } = await inProject(process.execPath, ["--input-type=module", "--eval", code]);
    expect({ stdout, stderr }).toEqual({ stdout: "function", stderr: "" });
  });

  test("can be loaded with require(), too", async () => {
    const code =
      'const { launch, GlimpseError } = require("glimpse"); console.log(typeof launch, typeof GlimpseError);';
    const { stdout } = await inProject(process.execPath, ["--input-type=commonjs", "--eval", code]);
    expect(stdout).toBe("function function");
  });

  test("runs: it answers, nobody has to hear of a stream that fails, and the process ends by itself", async () => {
    const code = `
      const { launch } = require("glimpse");
      (async () => {
        const glm = await launch();
        glm.stream({ prompt: "" });
        const { text } = await glm.caption("node_modules/glimpse/examples/pictures/shapes.png");
        await glm.close();
        console.log(text);
      })();`;
    const { stdout, stderr } = await execa(process.execPath, ["--input-type=commonjs", "--eval", code], {
      cwd: project,
      env: { GLIMPSE_PYTHON: await resolvePython() },
      stdin: "ignore",
      timeout: 60_000,
    });
    expect({ stdout, stderr }).toEqual({
      stdout: "A red circle, an orange star and a blue square on a white background.",
      stderr: "",
    });
  });

  test("does nothing when it is imported: it prints nothing, changes nothing, and lets the process end", async () => {
    const code = `
      const state = () => [Object.keys(process.env), Object.keys(globalThis), process.eventNames().map(String)];
      const before = state();
      await import("glimpse");
      process.once("beforeExit", () => {
        const added = state().map((names, index) => names.filter((name) => !before[index].includes(name)));
        console.log(JSON.stringify(added.flat()));
      });`;
    const { stdout, stderr, exitCode } = await inProject(process.execPath, ["--input-type=module", "--eval", code]);
    expect({ stderr, exitCode }).toEqual({ stderr: "", exitCode: 0 });
    // zod's registry is a global, so that two copies of it share one. The handler is the test's own.
    const names: string[] = JSON.parse(stdout);
    expect(names.filter((name) => !name.startsWith("__zod_") && name !== "beforeExit")).toEqual([]);
  });

  test("resolves and has types for every way of loading it", async () => {
    const { types, problems } = await attw();
    expect(types).toMatchObject({ kind: "included" });
    // It is ESM alone. Node loads that with require() from 20.19 on; TypeScript knows so with module nodenext.
    expect(problems.filter(({ kind }) => kind !== "CJSResolvesToESM")).toEqual([]);
  });

  test("is packed by the rules", async () => {
    const bytes = readFileSync(tarball);
    const { messages, pkg } = await publint({ pack: { tarball: new Uint8Array(bytes).buffer }, strict: true });
    expect(messages.map((message) => formatMessage(message, pkg ?? {}))).toEqual([]);
  });

  test("has no any in its declarations", () => {
    const dist = join(project, "node_modules", "glimpse", "dist");
    const declarations = readdirSync(dist, { recursive: true, encoding: "utf8" }).filter((file) =>
      file.endsWith(".d.ts"),
    );
    expect(declarations.length).toBeGreaterThan(20);
    expect(declarations.filter((file) => hasAny(join(dist, file)))).toEqual([]);
  });

  test("launch() without an environment says how to make one", async () => {
    const code =
      'import { launch } from "glimpse"; await launch().catch((error) => console.log(JSON.stringify({ code: error.code, hint: error.hint })));';
    const { stdout } = await inProject(process.execPath, ["--input-type=module", "--eval", code]);
    expect(JSON.parse(stdout)).toEqual({ code: "PYTHON_DEPS_MISSING", hint: "run: npx glimpse setup" });
  });

  test("its types hold under strict settings, and bring those of Node", async () => {
    writeFileSync(
      join(project, "program.ts"),
      `import { launch, type GenerateResult } from "glimpse";
export async function describe(picture: string): Promise<string> {
  const glm = await launch();
  const result: GenerateResult = await glm.generate({ prompt: "describe this image", images: [picture] });
  // @ts-expect-error a prompt is text
  void glm.generate({ prompt: 1 });
  await glm.close();
  return result.text;
}
`,
    );
    const tsc = join(packageRoot, "node_modules", "typescript", "bin", "tsc");
    const strict = [
      "--strict",
      "--exactOptionalPropertyTypes",
      "--module",
      "nodenext",
      "--target",
      "es2022",
      "--noEmit",
    ];
    const { stdout, exitCode } = await inProject(process.execPath, [tsc, ...strict, "program.ts"]);
    expect(stdout).toBe("");
    expect(exitCode).toBe(0);
  });

  test("npx glimpse --help works", async () => {
    const { stdout, exitCode } = await inProject("npx", ["--no-install", "glimpse", "--help"]);
    expect(stdout).toContain("describe [options] <picture...>");
    expect(exitCode).toBe(0);
  });
});

async function attw() {
  const analysis = await checkPackage(createPackageFromTarballData(readFileSync(tarball)));
  return "problems" in analysis ? analysis : { types: analysis.types, problems: [] };
}

function hasAny(path: string): boolean {
  const source = ts.createSourceFile(path, readFileSync(path, "utf8"), ts.ScriptTarget.Latest);
  const search = (node: ts.Node): boolean =>
    node.kind === ts.SyntaxKind.AnyKeyword || ts.forEachChild(node, search) === true;
  return search(source);
}
