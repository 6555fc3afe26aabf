// Asks about a video, given as its frames. Run it with: npx tsx examples/video.ts [frame...]
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { launch, video } from "../sdk/index.ts";

const folder = join(import.meta.dirname, "pictures", "turning");
const given = process.argv.slice(2);
const frames = given.length > 0 ? given : (await readdir(folder)).sort().map((name) => join(folder, name));

await using glm = await launch();
const { text, usage } = await glm.describe(video({ frames, fps: 2 }));
console.log(`${text} (${frames.length} frames, ${usage.imageTokens} tokens)`);
