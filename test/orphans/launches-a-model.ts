/** Launches the embedded model and says on stdout how far it is; the test kills it on the way. */
import { launch } from "../../sdk/index.ts";

const say = (stage: string) => process.stdout.write(`${stage}\n`);

const glm = await launch({
  onEvent: (event) => {
    if (event.type === "loading") say(`loading ${event.stage}`);
  },
});
say("idle");
// Text after text, so that there is always a stream under way when the signal comes.
for (;;) {
  for await (const event of glm.stream({ prompt: "Who are you?" })) if (event.type === "text") say("streaming");
}
