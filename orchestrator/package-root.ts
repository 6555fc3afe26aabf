import { existsSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

function nearestPackage(directory: string): string {
  if (existsSync(join(directory, "package.json"))) return directory;
  const parent = dirname(directory);
  if (parent === directory) throw new Error("Glimpse must be loaded from its package, not from a bundle");
  return nearestPackage(parent);
}

/** The directory of Glimpse's own package.json: the checkout, or `node_modules/glimpse`. */
export const packageRoot = nearestPackage(dirname(fileURLToPath(import.meta.url)));

/** Glimpse's own version, as in "0.1.0". */
export const { version } = JSON.parse(readFileSync(join(packageRoot, "package.json"), "utf8")) as { version: string };

/** Whether this is a git checkout rather than an installed package: only the former has the sources of the command. */
export const isCheckout = existsSync(join(packageRoot, "cli", "main.ts"));

/** The directory that holds the Python package `glimpse_worker`. */
export const workerSource = join(packageRoot, "python-worker");

/** The small checkpoint that `launch()` takes when it is given no model. */
export const embeddedModel = join(packageRoot, "models", "embedded");

/** A picture of coloured shapes for `glimpse demo`. */
export const demoPicture = join(packageRoot, "examples", "pictures", "shapes.png");
