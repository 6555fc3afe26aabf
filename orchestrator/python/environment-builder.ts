import { rename, rm, writeFile } from "node:fs/promises";
import { execa } from "execa";
import { GlimpseError } from "../../protocol/errors.ts";
import { findInterpreter, type Interpreter } from "./interpreter.ts";
import { developmentLock, pythonOf, runtimeLock, type Stamp, stampPath } from "./location.ts";
import { type PipResult, pipEnvironment, pipInstall } from "./pip.ts";
import { requirements } from "./requirements.ts";
import type { SetupEvent, SetupOptions, SetupStep } from "./setup-events.ts";
import { detectTorchBuild, type TorchBuild, torchSources, torchVersion } from "./torch-build.ts";

// What Python brings along as pip may be too old to know it.
const rawProgress = ["--progress-bar", "raw"];

/** Every package is named in a lock: without --no-deps pip would take any torch for those that ask for one. */
function locked(file: string): string[] {
  return ["--no-deps", "--require-hashes", "-r", file];
}

/** Makes one environment step by step. The caller holds the lock of `directory`. */
export class EnvironmentBuilder {
  readonly #directory: string;
  readonly #python: string;
  readonly #options: SetupOptions;

  constructor(directory: string, options: SetupOptions) {
    this.#directory = directory;
    this.#python = pythonOf(directory);
    this.#options = options;
  }

  /** `earlier` is the build of torch that was there before, which a new lock is no reason to change. */
  async makeAnew(earlier: TorchBuild | undefined): Promise<void> {
    const base = await findInterpreter();
    const torch = this.#options.torch ?? earlier ?? (await detectTorchBuild());
    await this.#makeVenv(base);
    await this.#install("pip", "pip", ["--progress-bar", "off", ...locked(requirements.pip)]);
    await this.#installRuntime();
    await this.#installTorch(torch);
    if (this.#options.development) await this.#installDevelopment();
    await this.#check(torch);
    await this.#writeStamp({ lock: runtimeLock(), torch, python: base.version });
  }

  async addDevelopment(stamp: Stamp): Promise<void> {
    await this.#installDevelopment();
    await this.#writeStamp(stamp);
  }

  async #makeVenv(base: Interpreter): Promise<void> {
    await this.#step("venv", `Python ${base.version} environment at ${this.#directory}`, async () => {
      this.#options.signal?.throwIfAborted();
      await rm(stampPath(this.#directory), { force: true });
      await rm(this.#directory, { recursive: true, force: true });
      const made = await execa(base.path, ["-I", "-m", "venv", this.#directory], {
        env: pipEnvironment(),
        extendEnv: false,
        stdin: "ignore",
        all: true,
        reject: false,
        ...(this.#options.signal && { cancelSignal: this.#options.signal }),
      });
      this.#options.signal?.throwIfAborted();
      if (made.failed) throw this.#failure(`making the virtual environment at ${this.#directory}`, made.all);
      return { files: 0, bytes: 0 };
    });
  }

  #installRuntime(): Promise<void> {
    return this.#install("packages", "transformers and what it needs", [
      ...rawProgress,
      ...locked(requirements.runtime),
    ]);
  }

  #installDevelopment(): Promise<void> {
    return this.#install("development", "pytest, mypy, ruff, hypothesis", [
      ...rawProgress,
      ...locked(requirements.development),
    ]);
  }

  /** Last, so that its dependencies are there in the pinned versions, and only its GPU libraries come with it. */
  async #installTorch(build: TorchBuild): Promise<void> {
    const title = `PyTorch ${torchVersion}, ${build === "rocm" ? "ROCm" : build.toUpperCase()} build`;
    await this.#step("torch", title, async () => {
      let lastLines = "";
      for (const source of torchSources(build)) {
        const installed = await this.#pip("torch", [...rawProgress, ...source]);
        if (installed.ok) return installed;
        lastLines = installed.lastLines;
        if (!/No matching distribution found/.test(lastLines)) break;
      }
      throw this.#failure(`installing ${title}`, lastLines);
    });
  }

  /** Whether what is there can be imported, and torch is the build that it is said to be. */
  async works(build: TorchBuild): Promise<boolean> {
    try {
      await this.#check(build);
      return true;
    } catch (error) {
      if (GlimpseError.is(error, "SETUP_FAILED")) return false;
      throw error;
    }
  }

  async #check(build: TorchBuild): Promise<void> {
    await this.#step("check", "Checking what is installed", async () => {
      const code = "import torch, transformers, zmq, msgspec, PIL; print(torch.version.cuda, torch.version.hip)";
      const { failed, stdout, stderr } = await execa(this.#python, ["-I", "-c", code], {
        stdin: "ignore",
        reject: false,
      });
      // Ctrl-C in a terminal ends this child too: that says nothing about the environment.
      this.#options.signal?.throwIfAborted();
      if (failed) throw this.#failure("importing torch and transformers", stderr);
      const [cuda, hip] = stdout.trim().split(" ");
      const found: TorchBuild = hip !== "None" ? "rocm" : cuda !== "None" ? "cuda" : "cpu";
      if (found !== build)
        throw this.#failure(`getting the ${build} build of torch`, `the index served the ${found} build`);
      return { files: 0, bytes: 0 };
    });
  }

  async #writeStamp(stamp: Stamp): Promise<void> {
    const complete: Stamp = this.#options.development ? { ...stamp, development: developmentLock() } : stamp;
    const path = stampPath(this.#directory);
    await writeFile(`${path}.new`, `${JSON.stringify(complete)}\n`);
    await rename(`${path}.new`, path);
  }

  #install(step: SetupStep, title: string, args: string[]): Promise<void> {
    return this.#step(step, title, async () => {
      const installed = await this.#pip(step, args);
      if (!installed.ok) throw this.#failure(`installing ${title}`, installed.lastLines);
      return installed;
    });
  }

  #pip(step: SetupStep, args: string[]): Promise<PipResult> {
    const onProgress = (progress: { detail: string; done?: number; total?: number }): void => {
      this.#emit({ type: "progress", step, ...progress });
    };
    return pipInstall({ python: this.#python, args, signal: this.#options.signal, onProgress });
  }

  async #step(step: SetupStep, title: string, work: () => Promise<{ files: number; bytes: number }>): Promise<void> {
    this.#emit({ type: "start", step, title });
    const { files, bytes } = await work();
    this.#emit({ type: "done", step, files, bytes });
  }

  #emit(event: SetupEvent): void {
    this.#options.onEvent?.(event);
  }

  #failure(what: string, output: string): GlimpseError {
    return new GlimpseError("SETUP_FAILED", `${what} did not succeed:\n${output.trim()}`, {
      hint: "mend what the lines above name (network, pip's index, room on the disk), then run: npx glimpse setup",
    });
  }
}
