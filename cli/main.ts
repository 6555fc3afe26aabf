import { Command, CommanderError, Option } from "commander";
import { version } from "../orchestrator/package-root.ts";
import { Interruption } from "./interruption.ts";
import { collect, type DescribeOptions, decimal, type EngineOptions, integer } from "./options.ts";

const interruption = new Interruption();

// Each command is imported when it is asked for: --help needs none of them.
const program = new Command("glimpse")
  .description("Call GLM-4.1V on your own GPUs.")
  .version(version, "-V, --version")
  .exitOverride()
  .showHelpAfterError("(glimpse --help shows what there is)");

/** Of every command that loads a model. */
const engine = new Option(
  "--engine <engine>",
  "paged: all requests in one batch; reference: transformers' own generate, one request at a time (default: paged)",
).choices(["paged", "reference"]);
const kvCacheMemoryBytes = new Option(
  "--kv-cache-memory-bytes <n>",
  "memory for the keys and values of tokens, with engine paged only (default: nine tenths of what is free on a GPU, a quarter on a CPU)",
).argParser(integer);

program
  .command("describe")
  .description("describe pictures, each given by path or http(s) URL")
  .argument("<picture...>", "PNG, JPEG, WebP or GIF")
  .option("--prompt <text>", "what to ask about each picture", "Describe this image.")
  .option("--model <path-or-id>", "a Glm4v checkpoint, or its id on the Hugging Face hub (default: the embedded model)")
  .option("--revision <revision>", "branch, tag or commit of an id")
  .option("--device <device>", "auto, cpu, cuda or cuda:N (default: auto)")
  .addOption(new Option("--dtype <dtype>", "(default: auto)").choices(["auto", "float32", "bfloat16", "float16"]))
  .addOption(engine)
  .addOption(kvCacheMemoryBytes)
  .option("--python <path>", "an interpreter that has torch and transformers (default: the environment of the set-up)")
  .option("--max-new-tokens <n>", "(default: 8192)", integer)
  .option(
    "--max-thinking-tokens <n>",
    "most tokens of thinking; 0 starts the answer at once (default: no bound)",
    integer,
  )
  .option("--temperature <t>", "0 is greedy", decimal)
  .option("--top-p <p>", "", decimal)
  .option("--top-k <k>", "", integer)
  .option("--repetition-penalty <p>", "", decimal)
  .option("--seed <n>", "", integer)
  .option("--stop <text>", "end the answer at this text; may be repeated", collect)
  .option("--allow-host <host:port>", "a private address that URLs may point at; may be repeated", collect)
  .option("--json", "print one JSON object per picture, and nothing else, on stdout")
  .action(async (pictures: string[], options: DescribeOptions) => {
    const { describe } = await import("./describe.ts");
    process.exitCode = await describe(pictures, options, interruption);
  });

program
  .command("demo")
  .description("describe a bundled picture with the embedded model")
  .addOption(engine)
  .addOption(kvCacheMemoryBytes)
  .action(async (options: EngineOptions) => {
    const { demo } = await import("./demo.ts");
    process.exitCode = await demo(options, interruption);
  });

program
  .command("setup")
  .description("make the Python environment; the other commands do it when it is missing")
  .addOption(
    new Option("--torch <build>", "which build of torch (default: the one for this machine's GPU)").choices([
      "cpu",
      "cuda",
      "rocm",
    ]),
  )
  .action(async (options: { torch?: "cpu" | "cuda" | "rocm" }) => {
    const { setup } = await import("./setup.ts");
    process.exitCode = await setup(options, interruption);
  });

try {
  await program.parseAsync();
} catch (error) {
  if (!(error instanceof CommanderError)) throw error;
  // commander has said what is wrong; it ends with 1 for every usage error, and with 0 for --help and --version.
  process.exitCode = error.exitCode === 0 ? 0 : 2;
}
