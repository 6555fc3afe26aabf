import { execFileSync } from "node:child_process";
import { mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { resolvePython } from "../../orchestrator/python/resolve.ts";

/** Draws the pictures of a script beside this file; returns a function from a picture's name to its path. */
export async function drawPictures(
  script: "draw_pictures.py" | "draw_pages.py" | "draw_files.py" = "draw_pictures.py",
): Promise<(name: string) => string> {
  const directory = mkdtempSync(join(tmpdir(), "pictures-"));
  const program = join(import.meta.dirname, script);
  execFileSync(await resolvePython(), ["-W", "error", program, directory], { stdio: "inherit" });
  return (name) => join(directory, name);
}
