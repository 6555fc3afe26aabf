// Asks about a video: a file, or a list of frames. Run it with: npx tsx examples/video.ts [video.mp4]
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { launch, video } from "../sdk/index.ts";

const folder = join(import.meta.dirname, "pictures", "turning");
const frames = (await readdir(folder)).sort().map((name) => join(folder, name));
const [file] = process.argv.slice(2);
const film = file === undefined ? video({ frames, fps: 2 }) : video(file, { maxFrames: 64 });

await using glm = await launch();
const { text, usage } = await glm.describe(film);
console.log(`${text} (${usage.imageTokens} tokens of video)`);
