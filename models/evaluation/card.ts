import { readFile, writeFile } from "node:fs/promises";
import { GlimpseError } from "../../sdk/index.ts";

const begin = "<!-- figures -->";
const end = "<!-- /figures -->";

/** Throws when the card is not there or cannot take figures. */
export async function checkCard(path: string): Promise<void> {
  replaceFigures(await readCard(path), "", path);
}

/** Puts `figures` between the markers of the model card at `path`. */
export async function writeCard(path: string, figures: string): Promise<void> {
  await writeFile(path, replaceFigures(await readCard(path), figures, path));
}

/** What stands outside of the markers stays as it is. */
export function replaceFigures(card: string, figures: string, path: string): string {
  const [before = "", rest = "", ...begins] = card.split(begin);
  const [, after, ...ends] = rest.split(end);
  if (after === undefined || begins.length > 0 || ends.length > 0 || before.includes(end)) {
    throw unfit(`${begin} and after it ${end} in ${path}, each once`, "other markers or none");
  }
  return `${before}${begin}\n\n${figures}\n\n${end}${after}`;
}

async function readCard(path: string): Promise<string> {
  try {
    return await readFile(path, "utf8");
  } catch (cause) {
    throw unfit(`the model's card at ${path}`, "no such file", cause);
  }
}

function unfit(expected: string, got: string, cause?: unknown): GlimpseError {
  const hint = "Put both markers where the figures are to stand, or leave out --write.";
  return new GlimpseError("INVALID_REQUEST", `--write: expected ${expected}, got ${got}`, { hint, cause });
}
