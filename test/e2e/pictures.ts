import { execFileSync } from "node:child_process";
import { mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { resolvePython } from "../../orchestrator/python/resolve.ts";

/** Draws the pictures of draw_pictures.py; returns a function from a file's name to its path. */
export async function drawPictures(): Promise<(name: string) => string> {
  const directory = mkdtempSync(join(tmpdir(), "pictures-"));
  const script = new URL("./draw_pictures.py", import.meta.url).pathname;
  execFileSync(await resolvePython(), ["-W", "error", script, directory], { stdio: "inherit" });
  return (name) => join(directory, name);
}
