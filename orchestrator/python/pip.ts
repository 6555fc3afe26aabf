import { execa } from "execa";
import { PipOutput, type PipProgress } from "./pip-output.ts";

interface PipRun {
  python: string;
  args: string[];
  signal?: AbortSignal | undefined;
  onProgress: (progress: PipProgress) => void;
}

export type PipResult = { ok: true; files: number; bytes: number } | { ok: false; lastLines: string };

// pip must not outlive a set-up that was killed, and write into the environment that the next one makes.
const pipWhileStdinIsOpen = `
import os, runpy, sys, threading
def leave_with_parent():
    while os.read(0, 1024): pass
    os._exit(1)
threading.Thread(target=leave_with_parent, daemon=True).start()
runpy.run_module("pip", run_name="__main__", alter_sys=True)
`;

/** The caller's environment without what would lead pip away from the virtual environment or make it ask. */
export function pipEnvironment(env = process.env): NodeJS.ProcessEnv {
  const { PIP_TARGET, PIP_PREFIX, PIP_USER, PIP_ROOT, PIP_REQUIRE_HASHES, PIP_NO_BINARY, ...rest } = env;
  return { ...rest, PIP_DISABLE_PIP_VERSION_CHECK: "1", PIP_NO_INPUT: "1" };
}

/** `pip install` of wheels into the environment of `python`; index, mirror and proxy are those configured for pip. */
export async function pipInstall({ python, args, signal, onProgress }: PipRun): Promise<PipResult> {
  const install = ["install", "--only-binary", ":all:", ...args];
  const pip = execa(python, ["-I", "-u", "-c", pipWhileStdinIsOpen, ...install], {
    env: pipEnvironment(),
    extendEnv: false,
    stdin: "pipe",
    all: true,
    buffer: false,
    reject: false,
    ...(signal && { cancelSignal: signal }),
  });
  const output = new PipOutput();
  const lastLines: string[] = [];
  for await (const line of pip.iterable({ from: "all" })) {
    const progress = output.read(line);
    if (progress) onProgress(progress);
    else if (line.trim() !== "" && !line.startsWith("WARNING: Location ")) lastLines.push(line);
    if (lastLines.length > 12) lastLines.shift();
  }
  const { failed } = await pip;
  signal?.throwIfAborted();
  if (failed) return { ok: false, lastLines: lastLines.join("\n") };
  return { ok: true, files: output.files, bytes: output.bytes };
}
