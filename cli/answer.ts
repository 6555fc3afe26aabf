import type { GenerateResult, GenerationStream, Warning } from "../sdk/index.ts";
import { type Output, print } from "./terminal.ts";

/**
 * Prints a stream as it comes: the thinking dimmed, then the answer. Where stdout is no terminal it gets the answer
 * alone, and the thinking goes to stderr.
 */
export async function printAnswer(stream: GenerationStream): Promise<GenerateResult> {
  const answer = new Section(process.stdout, "plain");
  const thinking = new Section(process.stdout.isTTY ? process.stdout : process.stderr, "dim");
  try {
    await printEvents(stream, thinking, answer);
  } finally {
    // Also where the stream breaks off: what comes next begins on a line of its own.
    thinking.end("\n");
    answer.end("\n");
  }
  const result = await stream.result;
  if (result.finishReason === "length") {
    const spent = result.usage.completionTokens;
    print(process.stderr, `glimpse: the answer was cut after ${spent} tokens; --max-new-tokens allows more\n`);
  }
  return result;
}

async function printEvents(stream: GenerationStream, thinking: Section, answer: Section): Promise<void> {
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
}

function printWarning({ message }: Pick<Warning, "message">): void {
  print(process.stderr, `glimpse: warning: ${message}\n`);
}

class Section {
  readonly #output: Output;
  readonly #style: "plain" | "dim";
  #open = false;

  constructor(output: Output, style: "plain" | "dim") {
    this.#output = output;
    this.#style = style;
  }

  write(text: string): void {
    this.#open = true;
    print(this.#output, text, this.#style);
  }

  end(lines: string): void {
    if (this.#open) print(this.#output, lines);
    this.#open = false;
  }
}
