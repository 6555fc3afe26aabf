import { copyFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { ProgressDisplay } from "../../cli/progress.ts";
import type { Output } from "../../cli/terminal.ts";
import { scratchDirectory } from "../setup/scratch.ts";
import { glimpseOnTerminal, picture } from "./command.ts";

/** Writes "hi" to the clipboard of a terminal that lets it. */
const hostile = "\x1b]52;c;aGk=\x07";
const controls = ["\x1b]", "\x07"];

test("a file's name cannot write to the clipboard of the terminal", async () => {
  const path = join(scratchDirectory(), `${hostile}.png`);
  copyFileSync(picture, path);
  const shown = await glimpseOnTerminal(["describe", path, path]);
  expect(shown).toContain("]52;c;aGk=.png <==");
  for (const control of controls) expect(shown).not.toContain(control);
});

test("nor can what a task is called, or does, while it runs and when it ends", () => {
  const written: string[] = [];
  const output = { isTTY: true, columns: 200, write: (text: string) => written.push(text) };
  const display = new ProgressDisplay(output as unknown as Output);
  display.start(`Making ${hostile}`);
  display.update({ detail: hostile });
  display.finish(hostile);
  expect(written.join("")).toContain("Making ]52;c;aGk=  ]52;c;aGk=  0 s\n");
  for (const control of controls) expect(written.join("")).not.toContain(control);
});
