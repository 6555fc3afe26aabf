import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { ProgressCount } from "../../sdk/batch/progress.ts";
import { client } from "./answering-transport.ts";

test("an answer is in the journal before the loop has it, so that an interruption never costs one that was read", async () => {
  const directory = mkdtempSync(join(tmpdir(), "glimpse-journal-"));
  try {
    const journal = join(directory, "run.jsonl");
    const { glm } = client();
    let read = 0;
    for await (const { item } of glm.batch(["a", "b", "c", "d"], (prompt) => ({ prompt }), { journal })) {
      read += 1;
      expect(readFileSync(journal, "utf8")).toContain(`{"key":"${item}"`);
    }
    expect(read).toBe(4);
  } finally {
    rmSync(directory, { recursive: true });
  }
});

test("the rest is estimated at the pace of the answers that were asked for, not of those that the journal had", () => {
  const count = new ProgressCount(10, 0);
  for (const fromJournal of [true, true, true, true]) count.ended({ ok: true, fromJournal });
  expect(count.at(5).remainingMs).toBeUndefined();
  for (const ok of [true, false]) count.ended({ ok, fromJournal: false });
  expect(count.at(1000)).toEqual({
    done: 6,
    failed: 1,
    fromJournal: 4,
    total: 10,
    elapsedMs: 1000,
    remainingMs: 2000,
  });
});
