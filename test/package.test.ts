import { mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { execa } from "execa";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { packageRoot } from "../orchestrator/package-root.ts";

/** An empty project that has installed the packed package, and is no checkout. */
let project: string;

beforeAll(async () => {
  project = mkdtempSync(join(tmpdir(), "glimpse-project-"));
  const packed = await execa("npm", ["pack", "--pack-destination", project], { cwd: packageRoot });
  // The build prints before it.
  const filename = packed.stdout.trim().split("\n").at(-1);
  writeFileSync(join(project, "package.json"), JSON.stringify({ name: "a-project", private: true, type: "module" }));
  await execa("npm", ["install", "--no-audit", "--no-fund", "--prefer-offline", `./${filename}`], { cwd: project });
}, 180_000);

afterAll(() => rmSync(project, { recursive: true, force: true }));

/** Without the environment that a checkout or an earlier set-up of this user may have. */
function inProject(command: string, args: string[]) {
  const env = { XDG_CACHE_HOME: join(project, "cache"), GLIMPSE_PYTHON: undefined };
  return execa(command, args, { cwd: project, env, reject: false, stdin: "ignore" });
}

describe("the package, installed in an empty project", () => {
  test("holds the worker, the embedded model, the locks and the licence, and nothing of the tests", () => {
    const installed = join(project, "node_modules", "glimpse");
    const files = readdirSync(installed, { recursive: true, encoding: "utf8" }).filter(
      (file) => !file.startsWith("node_modules"),
    );
    expect(files).toEqual(
      expect.arrayContaining([
        "LICENSE",
        "dist/sdk/index.js",
        "dist/sdk/index.d.ts",
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

  test("launch() without an environment says how to make one", async () => {
    const code =
      'import { launch } from "glimpse"; await launch().catch((error) => console.log(JSON.stringify({ code: error.code, hint: error.hint })));';
    const { stdout } = await inProject(process.execPath, ["--input-type=module", "--eval", code]);
    expect(JSON.parse(stdout)).toEqual({ code: "PYTHON_DEPS_MISSING", hint: "run: npx glimpse setup" });
  });

  test("its types hold under strict settings", async () => {
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
    const types = ["--typeRoots", join(packageRoot, "node_modules", "@types"), "--types", "node"];
    const strict = [
      "--strict",
      "--exactOptionalPropertyTypes",
      "--module",
      "nodenext",
      "--target",
      "es2022",
      "--noEmit",
    ];
    const { stdout, exitCode } = await inProject(process.execPath, [tsc, ...strict, ...types, "program.ts"]);
    expect(stdout).toBe("");
    expect(exitCode).toBe(0);
  });

  test("npx glimpse --help works", async () => {
    const { stdout, exitCode } = await inProject("npx", ["--no-install", "glimpse", "--help"]);
    expect(stdout).toContain("describe [options] <picture...>");
    expect(exitCode).toBe(0);
  });
});
