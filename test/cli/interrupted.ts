// A command that goes on writing and does not end by itself when it is interrupted, only says so on stderr.
import { Interruption } from "../../cli/interruption.ts";

const { signal } = new Interruption();
signal.addEventListener("abort", () => process.stderr.write("interrupted\n"));
setInterval(() => process.stdout.write("working\n"), 20);
