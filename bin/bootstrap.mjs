// Plain JavaScript on Node's own modules: this runs before anything is installed, and on a Node that may be too old.
import { spawnSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

export const root = dirname(dirname(fileURLToPath(import.meta.url)));

/** Ends the process, naming the error, where Glimpse cannot run. */
export function requirePlatform() {
  const [major, minor] = process.versions.node.split(".").map(Number);
  if (major < 20 || (major === 20 && minor < 19)) {
    refuse(
      `Node 20.19 or later is needed; this is ${process.versions.node}`,
      "install a current Node from https://nodejs.org",
    );
  }
  if (process.platform !== "linux" && process.platform !== "darwin") {
    refuse(`Linux or macOS is needed; this is ${process.platform}`, "on Windows, run Glimpse inside WSL 2");
  }
}

/** Installs what package-lock.json names, unless node_modules already holds it. */
export function ensureNodeModules() {
  const lock = readPackages(join(root, "package-lock.json"));
  if (isInstalled(lock)) return;
  // Optional packages are for one platform each: at most a few of them are installed.
  const count = [...lock.values()].filter(({ optional }) => !optional).length;
  process.stderr.write(`Installing the ${count} JavaScript packages of package-lock.json (about 240 MB)\n`);
  // tsx is a development package, and NODE_ENV=production or npm's configuration may leave those out.
  // npm's own report goes to stderr: stdout belongs to the command that was asked for.
  const npm = spawnSync("npm", ["ci", "--include=dev", "--no-audit", "--no-fund"], {
    cwd: root,
    stdio: ["ignore", 2, 2],
  });
  if (npm.error)
    refuse(`npm could not be started: ${npm.error.message}`, "npm comes with Node: see that it is on PATH");
  if (npm.status !== 0) refuse("npm ci did not succeed", "mend what npm names above, then run this again");
}

/** Lets this process import the TypeScript of the checkout. */
export async function registerTypeScript() {
  const { register } = await import("tsx/esm/api");
  register({ tsconfig: join(root, "tsconfig.json") });
}

function readPackages(path) {
  const { packages } = JSON.parse(readFileSync(path, "utf8"));
  return new Map(Object.entries(packages).filter(([name]) => name !== ""));
}

function isInstalled(lock) {
  const installedPath = join(root, "node_modules", ".package-lock.json");
  if (!existsSync(installedPath)) return false;
  const installed = readPackages(installedPath);
  // npm leaves optional packages of other platforms out.
  const isThere = ([name, { version, optional }]) => {
    const found = installed.get(name);
    return found ? found.version === version : optional === true;
  };
  return [...lock].every(isThere);
}

function refuse(message, hint) {
  process.stderr.write(`glimpse: ${message}\n  ${hint}\n`);
  process.exit(1);
}
