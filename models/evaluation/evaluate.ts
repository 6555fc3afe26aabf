// npx tsx models/evaluation/evaluate.ts --help
import { Command, CommanderError, InvalidArgumentError } from "commander";
import { reportFailure } from "../../cli/failure.ts";
import { Interruption } from "../../cli/interruption.ts";
import { integer } from "../../cli/options.ts";
import { type EvaluationOptions, evaluate } from "./evaluation.ts";

const interruption = new Interruption();

const program = new Command("npx tsx models/evaluation/evaluate.ts")
  .description("Ask the embedded model held-out questions through launch(), and say how often it is right.")
  .exitOverride()
  .showHelpAfterError("(--help shows what there is)")
  .option("--samples <n>", "how many to draw of each group", positive, 500)
  .option("--seed <n>", "what the samples are drawn with", integer, 7)
  .option("--model <directory>", "the checkpoint to ask (default: the embedded model)")
  .option("--groups <names>", "only these, with commas between them (default: all)", (names) => names.split(","))
  .option("--write", "put the figures into the README.md of the checkpoint, between its <!-- figures --> markers")
  .option("--failures", "print the wrong answers too")
  .option("--show <folder>", "write right.png and wrong.png there: one answer of each group, with its picture")
  .action((options: EvaluationOptions) => evaluate(options, interruption.signal));

function positive(text: string): number {
  if (integer(text) === 0) throw new InvalidArgumentError("Expected at least 1.");
  return Number(text);
}

try {
  await program.parseAsync();
} catch (error) {
  // commander has said what is wrong; it ends with 1 for every usage error, and with 0 for --help.
  if (error instanceof CommanderError) process.exitCode = error.exitCode === 0 ? 0 : 2;
  else if (!interruption.happened) process.exitCode = reportFailure(error);
}
