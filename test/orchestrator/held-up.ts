/** Launches a worker that loads for a second, and says on stdout how far it is; the test stops it on the way. */
import { startScripted } from "./scripted.ts";

const say = (line: string) => process.stdout.write(`${line}\n`);

const transport = await startScripted("slow", {
  limits: { heartbeatMs: 100, loadingSilenceMs: 800, silenceMs: 2_000 },
  onEvent: (event) => {
    if (event.type === "state") say(event.state);
  },
});
await transport.close();
