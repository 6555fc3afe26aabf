import { execa, type ResultPromise } from "execa";

/** What came of asking a vendor's tool. `silent`: it is there, and was of no use. */
export type ToolAnswer =
  | { kind: "answered"; exitCode: number; output: string }
  | { kind: "missing" }
  | { kind: "silent"; reason: string };

export type RunTool = (tool: string, args: readonly string[]) => Promise<ToolAnswer>;

const TIMEOUT_MS = 10_000;

/** Runs `tool` of PATH, without a shell, for at most `timeoutMs`. Never rejects. */
export async function runTool(
  tool: string,
  args: readonly string[],
  timeoutMs = TIMEOUT_MS,
  env = process.env,
): Promise<ToolAnswer> {
  const child = execa(tool, args, {
    env,
    extendEnv: false,
    stdin: "ignore",
    reject: false,
    // A group of its own, so that the end of the time ends its children too.
    detached: true,
  });
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<undefined>((resolve) => {
    timer = setTimeout(resolve, timeoutMs, undefined);
  });
  const result = await Promise.race([child, late]);
  clearTimeout(timer);
  if (result === undefined) {
    abandon(child);
    return { kind: "silent", reason: `${tool} did not answer within ${timeoutMs / 1000} s` };
  }
  if (result.code === "ENOENT") return { kind: "missing" };
  if (result.exitCode === undefined) return { kind: "silent", reason: result.shortMessage ?? `${tool} did not run` };
  // nvidia-smi writes its errors to stdout, the others to stderr.
  return { kind: "answered", exitCode: result.exitCode, output: result.stdout || result.stderr };
}

/** A tool that waits inside a broken driver survives SIGKILL: nobody waits for it, and it must not keep us alive. */
function abandon(child: Pick<ResultPromise, "pid" | "unref" | "stdout" | "stderr">): void {
  if (child.pid === undefined) return;
  try {
    process.kill(-child.pid, "SIGKILL");
  } catch {
    // It ended a moment ago.
  }
  child.unref();
  child.stdout?.destroy();
  child.stderr?.destroy();
}
