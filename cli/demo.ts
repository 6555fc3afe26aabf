import { relative } from "node:path";
import { demoPicture } from "../orchestrator/package-root.ts";
import type { GenerateResult } from "../sdk/index.ts";
import { printAnswer } from "./answer.ts";
import { start } from "./describe.ts";
import { exitCodes, reportFailure } from "./failure.ts";
import type { Interruption } from "./interruption.ts";
import type { EngineOptions } from "./options.ts";
import { print } from "./terminal.ts";

const prompt = "Describe this image.";

/** `glimpse demo`: the bundled picture, described by the embedded model; resolves to the exit code. */
export async function demo(options: EngineOptions, interruption: Interruption): Promise<number> {
  const { signal } = interruption;
  try {
    await using glm = await start({ prompt, ...options }, signal);
    print(process.stdout, `${relative(process.cwd(), demoPicture)}: ${prompt}`, "dim");
    print(process.stdout, "\n\n");
    const result = await printAnswer(glm.stream({ prompt, images: [demoPicture], signal }));
    print(process.stdout, "\n");
    print(process.stdout, summary(result), "dim");
    print(process.stdout, "\n");
    return exitCodes.good;
  } catch (error) {
    return interruption.happened ? exitCodes.failed : reportFailure(error);
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
