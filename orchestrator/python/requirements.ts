import { join } from "node:path";
import { workerSource } from "../package-root.ts";

function file(name: string): string {
  return join(workerSource, "requirements", name);
}

/** The pinned packages. Each file says by which command it was made. */
export const requirements = {
  /** What installs the others. */
  pip: file("pip.txt"),
  /** What the worker needs, and what torch needs of it, with hashes. */
  runtime: file("runtime.txt"),
  /** The libraries of torch's CUDA build: versions only, as constraints. */
  torchCuda: file("torch-cuda.txt"),
  /** What tests and checks need, with hashes. */
  development: file("dev.txt"),
} as const;
