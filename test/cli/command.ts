import { join } from "node:path";
import { execa } from "execa";
import { packageRoot } from "../../orchestrator/package-root.ts";
import { resolvePython } from "../../orchestrator/python/resolve.ts";

export const command = join(packageRoot, "bin", "glimpse.mjs");
export const picture = join(packageRoot, "examples", "pictures", "shapes.png");

/** Runs the command to its end, away from the checkout. */
export function glimpse(...args: string[]) {
  return execa(process.execPath, [command, ...args], { cwd: "/", stdin: "ignore", reject: false });
}

/** Runs the command on a terminal of its own, and resolves to all that it shows there. */
export async function glimpseOnTerminal(args: string[], env: Record<string, string> = {}): Promise<string> {
  const program = "import pty, sys; sys.exit(pty.spawn(sys.argv[1:]) >> 8)";
  const python = await resolvePython();
  const { stdout } = await execa(python, ["-c", program, process.execPath, command, ...args], {
    cwd: "/",
    // What a continuous-integration system sets must not decide whether there are colours.
    env: { TERM: "xterm-256color", CI: undefined, NO_COLOR: undefined, FORCE_COLOR: undefined, ...env },
    stdin: "ignore",
  });
  return stdout;
}
