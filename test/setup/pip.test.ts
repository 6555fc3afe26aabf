import { spawn } from "node:child_process";
import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { describe, expect, onTestFinished, test } from "vitest";
import { packageRoot } from "../../orchestrator/package-root.ts";
import { PipOutput } from "../../orchestrator/python/pip-output.ts";
import { resolvePython } from "../../orchestrator/python/resolve.ts";

describe("pip", () => {
  test("its output tells the file, the bytes that have arrived and the sum", () => {
    const output = new PipOutput();
    expect(output.read("Collecting numpy==2.4.6 (from -r runtime.txt (line 452))")).toBeUndefined();
    expect(output.read("  Downloading numpy-2.4.6-cp311-cp311-manylinux_2_28_x86_64.whl (16.1 MB)")).toEqual({
      detail: "numpy-2.4.6-cp311-cp311-manylinux_2_28_x86_64.whl",
    });
    expect(output.read("Progress 262144 of 16100000")).toEqual({
      detail: "numpy-2.4.6-cp311-cp311-manylinux_2_28_x86_64.whl",
      done: 262144,
      total: 16_100_000,
    });
    output.read("  Using cached https://example.org/torch-2.13.0%2Bcpu-cp311-cp311-linux_x86_64.whl (190.0 MB)");
    expect(output).toMatchObject({ files: 2, bytes: 206_100_000 });
    expect(output.read("Installing collected packages: numpy, torch")).toEqual({ detail: "unpacking 2 packages" });
  });

  test("does not outlive a set-up that was killed", async () => {
    const index = createServer();
    onTestFinished(() => void index.close());
    index.listen(0, "127.0.0.1");
    await once(index, "listening");
    const { port } = index.address() as AddressInfo;

    const module = pathToFileURL(join(packageRoot, "orchestrator", "python", "pip.ts")).href;
    const run = {
      python: await resolvePython(),
      args: [
        "--index-url",
        `http://127.0.0.1:${port}/simple`,
        "--no-cache-dir",
        "--target",
        "/nonexistent",
        "a-package",
      ],
    };
    const code = `
      const { pipInstall } = await import(${JSON.stringify(module)});
      await pipInstall({ ...${JSON.stringify(run)}, onProgress() {} });`;
    const node = spawn(process.execPath, ["--import", "tsx", "--input-type=module", "--eval", code], {
      cwd: packageRoot,
      stdio: ["ignore", "ignore", "inherit"],
    });
    // pip has asked the index, which does not answer: it would wait for long.
    const [request] = await once(index, "request");
    node.kill("SIGKILL");
    await once(request.socket, "close");
    expect(request.complete).toBe(true);
  });
});
