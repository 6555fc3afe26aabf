// Points at things in a picture, and writes a picture of the boxes. Run it with: npx tsx examples/locate.ts [out]
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { drawBoxes, launch } from "../sdk/index.ts";

const [out = "boxes.png"] = process.argv.slice(2);
const picture = join(import.meta.dirname, "pictures", "shapes.png");

await using glm = await launch();
const things = ["the red circle", "the orange star", "the blue square"];
// At once: the engine answers all three in one batch, and looks at the picture once.
const found = await Promise.all(things.map((thing) => glm.locate(picture, thing)));
const boxes = found.flatMap((result) => result.boxes);
for (const { label, box } of boxes) console.log(`${label}: ${box.map(Math.round).join(", ")}`);

await writeFile(out, await drawBoxes(picture, boxes));
console.log(`the picture is ${out}`);
