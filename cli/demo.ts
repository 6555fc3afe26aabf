import { relative } from "node:path";
import { demoPicture } from "../orchestrator/package-root.ts";
import type { GenerateResult } from "../sdk/index.ts";
import { printAnswer } from "./answer.ts";
import { start } from "./describe.ts";
import { exitCodes, reportFailure } from "./failure.ts";
import { Interruption } from "./interruption.ts";
import { dim } from "./terminal.ts";

const prompt = "Describe this image.";

/** `glimpse demo`: the bundled picture, described by the embedded model; resolves to the exit code. */
export async function demo(): Promise<number> {
  const interruption = new Interruption();
  const { signal } = interruption;
  try {
    await using glm = await start({ prompt }, signal);
    process.stdout.write(`${dim(`${relative(process.cwd(), demoPicture)}: ${prompt}`, process.stdout)}\n\n`);
    const result = await printAnswer(glm.stream({ prompt, images: [demoPicture], signal }));
    process.stdout.write(`\n${dim(summary(result), process.stdout)}\n`);
    return interruption.exitCode ?? exitCodes.good;
  } catch (error) {
    return interruption.exitCode ?? reportFailure(error);
  }
}

function summary({ timing, worker }: GenerateResult): string {
  const parts: string[] = [];
  if (timing.firstTokenMs !== undefined) parts.push(`first token after ${timing.firstTokenMs.toFixed(0)} ms`);
  if (timing.tokensPerSecond !== undefined) parts.push(`${timing.tokensPerSecond.toFixed(0)} tokens/s`);
  if (worker) parts.push(`${worker.id} (pid ${worker.pid})`);
  if (worker?.device) parts.push(`${worker.device.id} (${worker.device.name})`);
  return parts.join(", ");
}
