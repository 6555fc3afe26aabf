import { execa } from "execa";
import { GlimpseError } from "../../protocol/errors.ts";
import { installPythonHint, installVenvHint } from "./system-packages.ts";

/** The versions that the pinned packages are locked for, the preferred one first. */
const supportedMinors = ["3.12", "3.11"] as const;

const candidates = [...supportedMinors.map((minor) => `python${minor}`), "python3", "python"];

export interface Interpreter {
  /** The program itself, where the name on PATH may be a shim. */
  path: string;
  /** Three numbers, as in "3.11.7". */
  version: string;
  /** Whether it can make virtual environments that contain pip. */
  canMakeVenv: boolean;
}

// Written so that every Python since 2.7 can answer.
const question = `
import sys
sys.path = [entry for entry in sys.path if entry]  # not the current directory
print(sys.executable)
print("%d.%d.%d" % sys.version_info[:3])
try:
    import ensurepip, venv
    print("venv")
except ImportError:
    print("no venv")
`;

/** Runs `command` (a path, or a name on PATH) and asks what it is; undefined when it is no working Python. */
export async function probe(command: string, env = process.env): Promise<Interpreter | undefined> {
  const answer = await execa(command, ["-c", question], {
    env,
    extendEnv: false,
    stdin: "ignore",
    reject: false,
    timeout: 20_000,
  });
  if (answer.failed) return undefined;
  const [path, version, venv] = answer.stdout.trim().split(/\r?\n/);
  if (!path || !version) return undefined;
  return { path, version, canMakeVenv: venv === "venv" };
}

export function isSupported({ version }: Pick<Interpreter, "version">): boolean {
  return supportedMinors.some((minor) => version.startsWith(`${minor}.`));
}

/**
 * The Python on PATH that an environment can be made with.
 *
 * @throws GlimpseError PYTHON_NOT_FOUND, PYTHON_UNSUPPORTED or PYTHON_VENV_MISSING, with the command that mends it.
 */
export async function findInterpreter(env = process.env): Promise<Interpreter> {
  const found: Interpreter[] = [];
  for (const name of candidates) {
    const interpreter = await probe(name, env);
    if (!interpreter) continue;
    if (isSupported(interpreter) && interpreter.canMakeVenv) return interpreter;
    found.push(interpreter);
  }
  throw refusal(found);
}

function refusal(found: Interpreter[]): GlimpseError {
  const incomplete = found.find(isSupported);
  if (incomplete) {
    const message = `Python ${incomplete.version} (${incomplete.path}) cannot make virtual environments: its module ensurepip is missing`;
    return new GlimpseError("PYTHON_VENV_MISSING", message, { hint: installVenvHint(incomplete.version) });
  }
  const hint = installPythonHint();
  if (found.length === 0) {
    return new GlimpseError(
      "PYTHON_NOT_FOUND",
      `Python 3.11 or 3.12 is needed; PATH has none of ${candidates.join(", ")}`,
      { hint },
    );
  }
  const versions = [...new Set(found.map(({ path, version }) => `${version} (${path})`))].join(", ");
  return new GlimpseError("PYTHON_UNSUPPORTED", `Python 3.11 or 3.12 is needed; PATH has ${versions}`, { hint });
}
