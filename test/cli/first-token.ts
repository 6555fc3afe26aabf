/** A script of the day: connects, asks about a picture, and says when the first token has come. */
import { connect } from "../../sdk/index.ts";

const glm = await connect();
for await (const event of glm.stream({ prompt: "Describe this image.", images: [process.argv[2] ?? ""] })) {
  if (event.type === "thinking" || event.type === "text") break;
}
process.stdout.write("first token\n");
