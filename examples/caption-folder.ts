// A CSV with a caption for every picture of a folder. Run it with: npx tsx examples/caption-folder.ts [folder] > captions.csv
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { launch, tasks } from "../sdk/index.ts";

const [folder = join(import.meta.dirname, "pictures", "turning")] = process.argv.slice(2);
const pictures = (await readdir(folder)).filter((name) => /\.(png|jpe?g|webp|gif)$/i.test(name)).sort();
const row = (...cells: string[]) => console.log(cells.map((cell) => `"${cell.replaceAll('"', '""')}"`).join(","));

await using glm = await launch();
row("picture", "caption");
for await (const one of glm.batch(pictures, (name) => tasks.caption(join(folder, name)))) {
  if (one.ok) row(one.item, one.result.text);
  else console.error(`${one.item}: ${one.error.message}`);
}
