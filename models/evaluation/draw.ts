import { runPython } from "./python.ts";
import { readSamples, type Sample } from "./samples.ts";

const module = "models.training.held_out";

export interface Drawing {
  folder: string;
  /** Of each group. */
  samples: number;
  seed: number;
  groups: readonly string[];
}

/** The groups that Python can draw. */
export async function drawnGroups(signal: AbortSignal): Promise<string[]> {
  return (await runPython(module, { args: ["--list"], signal })).split("\n");
}

/** Has Python draw held-out samples into `folder`: what draws for the training draws these too. */
export async function drawSamples({ folder, samples, seed, groups }: Drawing, signal: AbortSignal): Promise<Sample[]> {
  if (groups.length === 0) return [];
  const args = ["--out", folder, "--samples", String(samples), "--seed", String(seed), "--groups", groups.join(",")];
  await runPython(module, { args, signal });
  return readSamples(folder);
}
