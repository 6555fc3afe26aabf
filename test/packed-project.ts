import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
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

/** Packed once for all projects of a test file. */
let packed: Promise<Uint8Array> | undefined;

/** An empty project that has installed the packed package, and others by their exact versions; it is no checkout. */
export async function packedProject(others: Record<string, string> = {}): Promise<PackedProject> {
  packed ??= pack();
  const bytes = await packed;
  const directory = mkdtempSync(join(tmpdir(), "glimpse-project-"));
  const tarball = join(directory, "glimpse.tgz");
  writeFileSync(tarball, bytes);
  writeFileSync(join(directory, "package.json"), JSON.stringify({ name: "a-project", private: true, type: "module" }));
  const packages = [tarball, ...Object.entries(others).map(([name, version]) => `${name}@${version}`)];
  const quietly = ["--save-exact", "--no-audit", "--no-fund", "--prefer-offline"];
  await execa("npm", ["install", ...quietly, ...packages], { cwd: directory });
  return { directory, tarball, remove: () => rmSync(directory, { recursive: true, force: true }) };
}

async function pack(): Promise<Uint8Array> {
  const directory = mkdtempSync(join(tmpdir(), "glimpse-packed-"));
  const { stdout } = await execa("npm", ["pack", "--pack-destination", directory], { cwd: packageRoot });
  // The build prints before it.
  const bytes = readFileSync(join(directory, stdout.trim().split("\n").at(-1) ?? ""));
  rmSync(directory, { recursive: true });
  return bytes;
}
