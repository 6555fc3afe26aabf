import { execFileSync } from "node:child_process";
import { cp, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { embeddedModel } from "../../orchestrator/package-root.ts";
import { GlimpseError, type LaunchOptions, launch } from "../../sdk/index.ts";

async function failure(options: LaunchOptions): Promise<GlimpseError> {
  try {
    await (await launch(options)).close();
  } catch (error) {
    if (GlimpseError.is(error)) return error;
    throw error;
  }
  throw new Error("expected a failure");
}

test("a model path that does not exist", async () => {
  const error = await failure({ model: "./no/such/model" });
  expect(error).toMatchObject({ code: "MODEL_NOT_FOUND", message: expect.stringContaining("no/such/model") });
  expect(error.hint).toBeTruthy();
});

test("a checkpoint of another architecture", async () => {
  const directory = await mkdtemp(join(tmpdir(), "other-model-"));
  await cp(embeddedModel, directory, { recursive: true });
  await writeFile(join(directory, "config.json"), JSON.stringify({ model_type: "llama" }));
  const error = await failure({ model: directory });
  expect(error).toMatchObject({ code: "MODEL_UNSUPPORTED", message: expect.stringContaining("llama") });
});

test("a checkpoint without weights", async () => {
  const directory = await mkdtemp(join(tmpdir(), "no-weights-"));
  await cp(embeddedModel, directory, { recursive: true });
  await rm(join(directory, "model.safetensors"));
  expect(await failure({ model: directory })).toMatchObject({ code: "MODEL_UNSUPPORTED" });
});

test("a Python without torch", async () => {
  const directory = await mkdtemp(join(tmpdir(), "no-torch-"));
  await writeFile(
    join(directory, "torch.py"),
    "raise ModuleNotFoundError(\"No module named 'torch'\", name='torch')\n",
  );
  const inherited = process.env["PYTHONPATH"];
  process.env["PYTHONPATH"] = directory;
  try {
    expect(await failure({})).toMatchObject({
      code: "PYTHON_DEPS_MISSING",
      message: expect.stringContaining("torch"),
      hint: expect.stringContaining("npx glimpse setup"),
    });
  } finally {
    if (inherited === undefined) delete process.env["PYTHONPATH"];
    else process.env["PYTHONPATH"] = inherited;
  }
});

test("no Python at all", async () => {
  expect(await failure({ python: "/no/such/python" })).toMatchObject({ code: "PYTHON_NOT_FOUND" });
});

test("a device that is not there", async () => {
  expect(await failure({ device: "cuda:7" })).toMatchObject({
    code: "DEVICE_NOT_FOUND",
    message: expect.stringContaining("cuda:7"),
  });
});

test.each([
  [{ modle: "x" }, /modle/],
  [{ limits: { stepMS: 1000 } }, /limits: expected only heartbeatMs, .*, got "stepMS"/],
  [{ limits: { silenceMs: 0 } }, /limits\.silenceMs: expected a number above 0, got 0/],
  [{ limits: 5 }, /limits: expected an object of limits in milliseconds, got 5/],
  [{ device: "gpu" }, /device.*"gpu"/],
  [{ allowHosts: ["localhost"] }, /allowHosts/],
  [{ dtype: "int8" }, /dtype.*bfloat16.*"int8"/],
  [{ engine: "vllm" }, /engine: expected "paged" or "reference", got "vllm"/],
  [{ kvCacheMemoryBytes: 0 }, /kvCacheMemoryBytes: expected a whole number of at least 1, got 0/],
  [{ kvCacheMemoryBytes: 1e9, engine: "reference" }, /kvCacheMemoryBytes: .*only with engine "paged", .*"reference"/],
])("a wrong option of launch() says what was expected: %j", async (options, message) => {
  expect(await failure(options as LaunchOptions)).toMatchObject({
    code: "INVALID_REQUEST",
    message: expect.stringMatching(message),
  });
});

test("a program that forgets nothing else ends by itself when the model is closed", () => {
  const program = new URL("./launch-and-close.ts", import.meta.url).pathname;
  const output = execFileSync(process.execPath, ["--import", "tsx", program], { encoding: "utf8", timeout: 60_000 });
  expect(output).toBe("closed\n");
});
