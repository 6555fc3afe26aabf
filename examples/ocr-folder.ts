// Reads every picture of a folder: a Markdown file for each, and a line of JSON for each, as a search index wants them.
// Stop it and run it again: it goes on where it was. Run it with: npx tsx examples/ocr-folder.ts [folder] [out]
import { mkdir, open, readdir, writeFile } from "node:fs/promises";
import { join, parse } from "node:path";
import { type BatchProgress, launch, tasks } from "../sdk/index.ts";

const [folder = join(import.meta.dirname, "pictures", "pages"), out = "ocr"] = process.argv.slice(2);

function showProgress({ done, failed, total = done, remainingMs }: BatchProgress): void {
  const bar = "#".repeat(Math.round((20 * done) / total)).padEnd(20, ".");
  const left = remainingMs === undefined ? "" : `, ${Math.ceil(remainingMs / 1000)} s left`;
  process.stderr.write(`\r[${bar}] ${done} of ${total}${failed > 0 ? `, ${failed} failed` : ""}${left}    `);
}

const pictures = (await readdir(folder)).filter((name) => /\.(png|jpe?g|webp|gif)$/i.test(name)).sort();
await mkdir(out, { recursive: true });
await using glm = await launch();
await using lines = await open(join(out, "pages.jsonl"), "w");

const pages = glm.batch(pictures, (name) => tasks.ocr(join(folder, name), { format: "markdown" }), {
  journal: join(out, "journal.jsonl"),
  onProgress: showProgress,
});
for await (const page of pages) {
  if (!page.ok) {
    console.error(`\n${page.item}: ${page.error.message}`);
    continue;
  }
  const { text } = page.result;
  await writeFile(join(out, `${parse(page.item).name}.md`), `${text}\n`);
  await lines.write(`${JSON.stringify({ source: page.item, text })}\n`);
}
process.stderr.write("\n");
console.log(`${pictures.length} pages are in ${out}`);
