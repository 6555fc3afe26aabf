import { execa } from "execa";
import { describe, expect, test } from "vitest";
import { resolvePython } from "../../orchestrator/python/resolve.ts";

const listing = `
import importlib.metadata, json
print(json.dumps({d.metadata["Name"].lower(): d.version for d in importlib.metadata.distributions()}))`;

describe("the environment that these tests run in", async () => {
  const { stdout } = await execa(await resolvePython(), ["-I", "-c", listing]);
  const distributions: Record<string, string> = JSON.parse(stdout);
  const isCpuBuild = distributions["torch"] === "2.13.0+cpu";

  test.skipIf(!isCpuBuild)("with the CPU build of torch there is no package of NVIDIA's", () => {
    expect(Object.keys(distributions).filter((name) => /^(nvidia|cuda|triton)/.test(name))).toEqual([]);
  });
});
