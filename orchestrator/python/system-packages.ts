import { readFileSync } from "node:fs";

type PackageManager = "apt" | "dnf" | "brew" | "none";

function packageManager(osRelease: string): PackageManager {
  if (process.platform === "darwin") return "brew";
  if (/^ID(_LIKE)?=.*\b(debian|ubuntu)\b/m.test(osRelease)) return "apt";
  if (/^ID(_LIKE)?=.*\b(fedora|rhel)\b/m.test(osRelease)) return "dnf";
  return "none";
}

/** What a Linux distribution says about itself; empty where there is no such file. */
function readOsRelease(): string {
  try {
    return readFileSync("/etc/os-release", "utf8");
  } catch {
    return "";
  }
}

const orAnother = "or name another interpreter by GLIMPSE_PYTHON";

/** What to type on this system to get a Python that Glimpse can use. */
export function installPythonHint(osRelease = readOsRelease()): string {
  switch (packageManager(osRelease)) {
    case "apt":
      return `run: sudo apt install python3.12 python3.12-venv (python3.11 where there is no 3.12), ${orAnother}`;
    case "dnf":
      return `run: sudo dnf install python3.12, ${orAnother}`;
    case "brew":
      return `run: brew install python@3.12, ${orAnother}`;
    case "none":
      return `install Python 3.12, ${orAnother}`;
  }
}

/** What to type so that the Python of this version can make virtual environments. */
export function installVenvHint(version: string, osRelease = readOsRelease()): string {
  const minor = version.split(".").slice(0, 2).join(".");
  if (packageManager(osRelease) === "apt") return `run: sudo apt install python${minor}-venv`;
  return `install a Python ${minor} that includes ensurepip, ${orAnother}`;
}
