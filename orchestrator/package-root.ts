import { existsSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { z } from "zod";
import { GlimpseError } from "../protocol/errors.ts";

const packageSchema = z.object({ name: z.string(), version: z.string() });

/** Of the package that the module at `url` is part of. Bundlers that write CommonJS leave `url` undefined. */
export function packageOf(url: string | undefined): { root: string; version: string } {
  const root = url === undefined ? undefined : nearestPackage(dirname(fileURLToPath(url)));
  const found = root && packageSchema.safeParse(JSON.parse(readFileSync(join(root, "package.json"), "utf8"))).data;
  if (root && found && found.name === "glimpse") return { root, version: found.version };
  throw new GlimpseError("PLATFORM_UNSUPPORTED", "Glimpse was loaded from a bundle, without its Python and its model", {
    hint: 'Leave it out of the bundle: esbuild --external:glimpse, Next.js serverExternalPackages: ["glimpse"].',
  });
}

function nearestPackage(directory: string): string | undefined {
  if (existsSync(join(directory, "package.json"))) return directory;
  const parent = dirname(directory);
  return parent === directory ? undefined : nearestPackage(parent);
}

const own = packageOf(import.meta.url);

/** The directory of Glimpse's own package.json: the checkout, or `node_modules/glimpse`. */
export const packageRoot = own.root;

/** Glimpse's own version, as in "0.1.0". */
export const version = own.version;

/** Whether this is a git checkout rather than an installed package: only the former has the sources of the command. */
export const isCheckout = existsSync(join(packageRoot, "cli", "main.ts"));

/** The directory that holds the Python package `glimpse_worker`. */
export const workerSource = join(packageRoot, "python-worker");

/** The small checkpoint that `launch()` takes when it is given no model. */
export const embeddedModel = join(packageRoot, "models", "embedded");

/** A picture of coloured shapes for `glimpse demo`. */
export const demoPicture = join(packageRoot, "examples", "pictures", "shapes.png");
