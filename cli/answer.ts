import type { GenerateResult, GenerationStream, Warning } from "../sdk/index.ts";
import { dim, type Output, printable } from "./terminal.ts";

/**
 * Prints a stream as it comes: the thinking dimmed, then the answer. Where stdout is no terminal it gets the answer
 * alone, and the thinking goes to stderr.
 */
export async function printAnswer(stream: GenerationStream): Promise<GenerateResult> {
  const answer = new Section(process.stdout, (text) => text);
  const thinkingOutput = process.stdout.isTTY ? process.stdout : process.stderr;
  const thinking = new Section(thinkingOutput, (text) => dim(text, thinkingOutput));
  for await (const event of stream) {
    switch (event.type) {
      case "thinking":
        thinking.write(event.text);
        break;
      case "text":
        thinking.end("\n\n");
        answer.write(event.text);
        break;
      case "warning":
        printWarning(event);
        break;
      case "queued":
      case "box":
      case "finish":
        break;
      default:
        event satisfies never;
    }
  }
  thinking.end("\n");
  answer.end("\n");
  const result = await stream.result;
  if (result.finishReason === "length") {
    const spent = result.usage.completionTokens;
    process.stderr.write(`glimpse: the answer was cut after ${spent} tokens; --max-new-tokens allows more\n`);
  }
  return result;
}

function printWarning({ message }: Pick<Warning, "message">): void {
  process.stderr.write(`glimpse: warning: ${printable(message, process.stderr)}\n`);
}

class Section {
  readonly #output: Output;
  readonly #style: (text: string) => string;
  #open = false;

  constructor(output: Output, style: (text: string) => string) {
    this.#output = output;
    this.#style = style;
  }

  write(text: string): void {
    this.#open = true;
    this.#output.write(this.#style(printable(text, this.#output)));
  }

  end(lines: string): void {
    if (this.#open) this.#output.write(lines);
    this.#open = false;
  }
}
