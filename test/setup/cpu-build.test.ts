import { execa } from "execa";
import { describe, expect, test } from "vitest";
import { environmentDirectory, readStamp } from "../../orchestrator/python/location.ts";
import { namedPython, resolvePython } from "../../orchestrator/python/resolve.ts";
import { torchVersion } from "../../orchestrator/python/torch-build.ts";

const listing = `
import importlib.metadata, json
print(json.dumps({d.metadata["Name"].lower(): d.version for d in importlib.metadata.distributions()}))`;

describe("the environment that these tests run in", async () => {
  // Not asked of torch itself: an environment that got another build than the set-up meant is what this is to find.
  const stamp = namedPython() === undefined ? await readStamp(environmentDirectory()) : undefined;

  test.skipIf(stamp?.torch !== "cpu")(
    "made for a machine without GPU, has torch's CPU build and nothing of NVIDIA's",
    async () => {
      const { stdout } = await execa(await resolvePython(), ["-I", "-c", listing]);
      const distributions: Record<string, string> = JSON.parse(stdout);
      expect(distributions["torch"]).toBe(process.platform === "darwin" ? torchVersion : `${torchVersion}+cpu`);
      // Triton is there for the tests alone, which compile the GPU's kernels; torch's CPU build does not bring it.
      expect(Object.keys(distributions).filter((name) => /^(nvidia|cuda)/.test(name))).toEqual([]);
    },
  );
});
