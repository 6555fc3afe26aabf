import { chmod, mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";

export interface FakePython {
  version: string;
  ensurepip?: boolean;
}

/** A program `name` in `bin` that answers like a Python of that version, and makes environments without packages. */
export async function installFakePython(
  bin: string,
  name: string,
  { version, ensurepip = true }: FakePython,
): Promise<void> {
  await mkdir(bin, { recursive: true });
  const path = join(bin, name);
  await writeFile(path, script(path, version, ensurepip));
  await chmod(path, 0o755);
}

// An environment with a file `broken` in it lacks torch. `<path>.log` gets a line per environment made and per call of pip; `<path>.pip` says how pip behaves.
const script = (path: string, version: string, ensurepip: boolean): string => `#!/bin/sh
log="${path}.log"
behaviour="$(/bin/cat "${path}.pip" 2>/dev/null || echo succeed)"
case "$*" in
  "-I -m venv "*)
    for directory; do :; done
    echo "venv" >> "$log"
    /bin/mkdir -p "$directory/bin" && /bin/cp "$0" "$directory/bin/python"
    ;;
  *runpy*)
    arguments="\${*##*runpy.run_module}"
    echo "pip\${arguments#*)}" | /usr/bin/tr '\\n' ' ' >> "$log"
    echo >> "$log"
    case "$behaviour:$*" in
      fail:*runtime.txt*) echo "ERROR: no space left on the device"; exit 1 ;;
      hang:*runtime.txt*) echo "Collecting everything"; /bin/cat > /dev/null; exit 1 ;;
      no-cpu-build:*torch==*+cpu) case "$*" in *--index-url*) ;; *)
        echo "ERROR: No matching distribution found for torch"; exit 1 ;; esac ;;
    esac
    echo "  Downloading package-1.0-py3-none-any.whl (2.5 MB)"
    echo "Progress 1000 of 2500000"
    echo "Progress 2500000 of 2500000"
    ;;
  "-I -c import torch"*)
    if [ -e "\${0%/bin/python}/broken" ]; then echo "No module named torch" >&2; exit 1; fi
    if [ "$behaviour" = wrong-build ]; then echo "13.0 None"; else echo "None None"; fi
    ;;
  *)
    echo "${path}"
    echo "${version}"
    echo "${ensurepip ? "venv" : "no venv"}"
    ;;
esac
`;

export type PipBehaviour = "succeed" | "fail" | "hang" | "no-cpu-build" | "wrong-build";

export async function pipDoes(python: string, behaviour: PipBehaviour): Promise<void> {
  await writeFile(`${python}.pip`, behaviour);
}

/** What the fake was asked to do, one line per call. */
export async function calls(python: string): Promise<string[]> {
  const text = await readFile(`${python}.log`, "utf8").catch(() => "");
  return text.split("\n").filter((line) => line.trim() !== "");
}
