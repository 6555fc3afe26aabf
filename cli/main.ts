import { Command, CommanderError, Option } from "commander";
import { version } from "../orchestrator/package-root.ts";
import { Interruption } from "./interruption.ts";
import {
  collect,
  type DescribeOptions,
  type DownOptions,
  decimal,
  type EngineOptions,
  integer,
  placement,
  type SetupOptions,
  type UpOptions,
  type WorkersOptions,
} from "./options.ts";

const interruption = new Interruption();

/** Each command is imported when it is asked for: --help needs none of them. It gives the status to end with. */
function exitWith<Given extends unknown[]>(command: (...given: Given) => Promise<number>) {
  return async (...given: Given): Promise<void> => {
    process.exitCode = await command(...given);
  };
}

const program = new Command("glimpse")
  .description("Call GLM-4.1V on your own GPUs.")
  .version(version, "-V, --version")
  .exitOverride()
  .showHelpAfterError("(glimpse --help shows what there is)");

/** Of the commands that load a model. */
const model = new Option(
  "--model <path-or-id>",
  "a Glm4v checkpoint, or its id on the Hugging Face hub (default: the embedded model)",
);
const revision = new Option("--revision <revision>", "branch, tag or commit of an id");
const device = new Option("--device <device>", "auto, cpu, cuda or cuda:N (default: auto)");
const dtype = new Option("--dtype <dtype>", "(default: auto)").choices(["auto", "float32", "bfloat16", "float16"]);
const python = new Option(
  "--python <path>",
  "an interpreter that has torch and transformers (default: the environment of the set-up)",
);
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
  .description("describe pictures, videos and PDFs, each given by path or http(s) URL")
  .argument("<picture...>", "PNG, JPEG, WebP or GIF; MP4, QuickTime, WebM or Matroska; PDF: told by the bytes")
  .option("--prompt <text>", "what to ask about each (default: to describe it, or to read a PDF)")
  .addOption(model)
  .addOption(revision)
  .addOption(device)
  .addOption(dtype)
  .addOption(engine)
  .addOption(kvCacheMemoryBytes)
  .addOption(python)
  .addOption(
    new Option("--connect", "use the workers of `glimpse up`, with the options that these were started with").conflicts(
      ["model", "revision", "device", "dtype", "engine", "kvCacheMemoryBytes", "python"],
    ),
  )
  .addOption(new Option("--name <name>", "those of `glimpse up --name`; implies --connect").implies({ connect: true }))
  .option(
    "--max-pixels <n>",
    "scale pictures, pages and frames down to so many pixels, which costs fewer tokens",
    integer,
  )
  .option("--fps <n>", "of videos, so many frames of each second (default: 2)", decimal)
  .option("--max-frames <n>", "of videos, so many frames at most", integer)
  .option("--pages <pages>", 'of PDFs, these pages, such as "1-3,7" (default: all)')
  .option("--dpi <n>", "of PDFs, pixels an inch at which pages are drawn (default: 144)", decimal)
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
  .option("--json", "print one JSON object for each, and nothing else, on stdout")
  .action(
    exitWith(async (pictures: string[], options: DescribeOptions) =>
      (await import("./describe.ts")).describe(pictures, options, interruption),
    ),
  );

program
  .command("demo")
  .description("describe a bundled picture with the embedded model")
  .addOption(engine)
  .addOption(kvCacheMemoryBytes)
  .action(exitWith(async (options: EngineOptions) => (await import("./demo.ts")).demo(options, interruption)));

/** Of the commands about the workers that stay. */
const name = new Option("--name <name>", "which background orchestrator, if there are several").default("default");

program
  .command("up")
  .description("start workers that stay, for the programs that connect() to them")
  .addOption(model)
  .addOption(revision)
  .addOption(device)
  .addOption(dtype)
  .addOption(engine)
  .addOption(kvCacheMemoryBytes)
  .addOption(python)
  .option(
    "--workers <which>",
    "auto (one per GPU), a number, or devices such as cuda:0,cuda:1 (default: auto)",
    placement,
  )
  .option("--gpus-per-worker <n>", "for a model that needs several, with engine reference only (default: 1)", integer)
  .addOption(
    new Option(
      "--on-worker-loss <what>",
      "what becomes of the requests of a worker that is lost (default: resume)",
    ).choices(["resume", "restart", "fail"]),
  )
  .option("--queue-limit <n>", "most requests that may wait; more are refused", integer)
  .option("--idle-minutes <n>", "end when nobody was connected for so long; 0: never", decimal, 60)
  .addOption(name)
  .action(exitWith(async (options: UpOptions) => (await import("./up.ts")).up(options, interruption)));

program
  .command("down")
  .description("end the workers that stay, when what they are doing is done")
  .option("--now", "end them at once; what they are doing fails")
  .addOption(name)
  .action(exitWith(async (options: DownOptions) => (await import("./down.ts")).down(options, interruption)));

program
  .command("workers")
  .description("show the workers that stay")
  .option("--json", "print one JSON object per worker, and nothing else, on stdout")
  .addOption(name)
  .action(exitWith(async (options: WorkersOptions) => (await import("./workers.ts")).workers(options, interruption)));

program.command("background", { hidden: true }).action(async () => {
  const { background } = await import("./background.ts");
  // Connections that are open tell by their end that the process is gone.
  process.exit(await background(interruption));
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
  .action(exitWith(async (options: SetupOptions) => (await import("./setup.ts")).setup(options, interruption)));

try {
  await program.parseAsync();
} catch (error) {
  if (!(error instanceof CommanderError)) throw error;
  // commander has said what is wrong; it ends with 1 for every usage error, and with 0 for --help and --version.
  process.exitCode = error.exitCode === 0 ? 0 : 2;
}
