/** Launches a worker with the interpreter that argv names, closes it, and has nothing else to do. */
import { startScripted } from "./scripted.ts";

const transport = await startScripted("normal", { python: process.argv[2] as string });
await transport.close();
process.stdout.write("closed\n");
