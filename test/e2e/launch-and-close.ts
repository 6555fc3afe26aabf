import { launch } from "../../sdk/index.ts";

{
  await using glm = await launch();
  await glm.generate({ prompt: "Hello", temperature: 0 });
}
process.stdout.write("closed\n");
