import { access } from "node:fs/promises";
import { execa } from "execa";
import { requirements } from "./requirements.ts";

export const torchVersion = "2.13.0";

export const torchBuilds = ["cpu", "cuda", "rocm"] as const;

/** Which build of torch an environment has: for no GPU, for NVIDIA's, or for AMD's. */
export type TorchBuild = (typeof torchBuilds)[number];

/** One way to get a build: arguments of `pip install`. */
type TorchSource = readonly string[];

const ownIndex = "https://download.pytorch.org/whl";
/** The newest ROCm that PyTorch built this version for. */
const rocmVersion = "7.2";

/** Where to look for a build, in this order: the next source is for an index that lacks the distribution. */
export function torchSources(build: TorchBuild, platform = process.platform): readonly TorchSource[] {
  switch (build) {
    case "cpu": {
      // macOS has one build only, and it has no local version.
      if (platform === "darwin") return [[`torch==${torchVersion}`]];
      const requirement = `torch==${torchVersion}+cpu`;
      return [[requirement], ["--index-url", `${ownIndex}/cpu`, requirement]];
    }
    case "cuda":
      // PyPI's Linux wheel is the CUDA build. Two equal signs would accept 2.13.0+cpu as well.
      return [["--constraint", requirements.torchCuda, `torch===${torchVersion}`]];
    case "rocm":
      return [["--index-url", `${ownIndex}/rocm${rocmVersion}`, `torch==${torchVersion}+rocm${rocmVersion}`]];
  }
}

/** The build for the GPU that this machine shows, or `cpu`. */
export async function detectTorchBuild(env = process.env): Promise<TorchBuild> {
  if (process.platform === "darwin") return "cpu";
  if (await answers("nvidia-smi", ["-L"], env)) return "cuda";
  if (await exists("/dev/kfd")) return "rocm";
  if ((await answers("amd-smi", ["list"], env)) || (await answers("rocm-smi", [], env))) return "rocm";
  return "cpu";
}

async function answers(command: string, args: string[], env: NodeJS.ProcessEnv): Promise<boolean> {
  const { failed, stdout } = await execa(command, args, {
    env,
    extendEnv: false,
    stdin: "ignore",
    reject: false,
    timeout: 10_000,
  });
  return !failed && stdout.trim() !== "";
}

async function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  );
}
