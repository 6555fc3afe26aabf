import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { execa } from "execa";
import { packageRoot } from "../orchestrator/package-root.ts";

export interface PackedProject {
  directory: string;
  /** The package as it would be published. */
  tarball: string;
  remove(): void;
}

/** An empty project that has installed the packed package, and others by their exact versions; it is no checkout. */
export async function packedProject(others: Record<string, string> = {}): Promise<PackedProject> {
  const directory = mkdtempSync(join(tmpdir(), "glimpse-project-"));
  const packed = await execa("npm", ["pack", "--pack-destination", directory], { cwd: packageRoot });
  // The build prints before it.
  const filename = packed.stdout.trim().split("\n").at(-1) ?? "";
  writeFileSync(join(directory, "package.json"), JSON.stringify({ name: "a-project", private: true, type: "module" }));
  const packages = [`./${filename}`, ...Object.entries(others).map(([name, version]) => `${name}@${version}`)];
  await execa("npm", ["install", "--save-exact", "--no-audit", "--no-fund", "--prefer-offline", ...packages], {
    cwd: directory,
  });
  return {
    directory,
    tarball: join(directory, filename),
    remove: () => rmSync(directory, { recursive: true, force: true }),
  };
}
