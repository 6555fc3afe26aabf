import { rename } from "node:fs/promises";
import { join } from "node:path";
import { execa } from "execa";
import { describe, expect, test } from "vitest";
import { resolvePython } from "../../orchestrator/python/resolve.ts";
import { drawPictures } from "../e2e/pictures.ts";
import { command, glimpse, glimpseOnTerminal, picture } from "./command.ts";

const answer = "A red circle, an orange star and a blue square on a white background.";
const thinking = "I see 3 shapes.";

describe("glimpse describe", () => {
  test("into a pipe goes the answer alone; the thinking goes to stderr", async () => {
    const { exitCode, stdout, stderr } = await glimpse("describe", picture);
    expect(stdout).toBe(answer);
    expect(stderr).toContain(thinking);
    expect(exitCode).toBe(0);
  });

  test("--json prints one object per picture, a failed one among them, and goes on", async () => {
    const missing = "/nowhere/picture.png";
    const prompt = ["--prompt", "How many shapes are there?"];
    const { exitCode, stdout, stderr } = await glimpse("describe", "--json", ...prompt, picture, missing, picture);
    const objects = stdout.split("\n").map((line) => JSON.parse(line));
    expect(objects).toMatchObject([
      { picture, text: "3", finishReason: "stop", worker: { device: { kind: expect.any(String) } } },
      { picture: missing, error: { code: "FILE_NOT_FOUND", message: expect.any(String), hint: expect.any(String) } },
      { picture, text: "3" },
    ]);
    expect(objects[0].raw).toContain(`<answer>${objects[0].text}</answer>`);
    expect(stderr).toContain(`glimpse: ${missing}: `);
    expect(exitCode).toBe(1);
  });

  test.each([
    [1, ["/nowhere/picture.png"], "no such file"],
    [1, ["/nowhere/picture.png", "/nowhere/other.png"], "no such file"],
    [2, [picture, "--prompt", ""], "prompt"],
    [2, [picture, "--top-p", "3"], "topP"],
    [2, [picture, "--pages", "3-1"], "pdf.pages"],
    [2, [picture, "--max-pixels", "0"], "maxPixels"],
    [2, [picture, "--allow-host", "127.0.0.1"], "allowHosts"],
  ])("what needs no model is said before one is loaded (exit code %i): %j", async (code, args, message) => {
    const { exitCode, stdout, stderr } = await glimpse("describe", ...args);
    expect(stderr).toContain(message);
    expect(stderr).not.toMatch(/Python|weights/);
    expect({ exitCode, stdout }).toEqual({ exitCode: code, stdout: "" });
  });

  test("a video and a PDF are told by their bytes, each with a question of its own", async () => {
    const file = await drawPictures("draw_files.py");
    const [clip, document] = [`${file("moving.mp4")}.png`, `${file("pages.pdf")}.txt`];
    await Promise.all([rename(file("moving.mp4"), clip), rename(file("pages.pdf"), document)]);
    const options = ["--json", "--temperature", "0", "--pages", "2", "--dpi", "72"];
    const { exitCode, stdout } = await glimpse("describe", ...options, clip, document);
    expect(stdout.split("\n").map((line) => JSON.parse(line))).toMatchObject([
      { picture: clip, text: "The red circle moves right." },
      { picture: document, text: "GLIMPSE" },
    ]);
    expect(exitCode).toBe(0);
  });

  test("several pictures have a heading each", async () => {
    const { stdout } = await glimpse("describe", picture, picture);
    expect(stdout).toBe(`==> ${picture} <==\n${answer}\n\n==> ${picture} <==\n${answer}`);
  });

  test("on a terminal the thinking is dimmed, and the answer is not", async () => {
    const shown = await glimpseOnTerminal(["describe", picture]);
    expect(shown.replaceAll("\x1b[22m\x1b[2m", "")).toContain(`\x1b[2m${thinking}\x1b[22m\r\n\r\n${answer}`);
  });

  test("NO_COLOR is honoured", async () => {
    const shown = await glimpseOnTerminal(["describe", picture], { NO_COLOR: "1" });
    expect(shown).toContain(`${thinking}\r\n\r\n${answer}`);
    expect(shown).not.toContain("\x1b[2m");
  });

  test("a model that does not exist is a named failure for every picture, without a stack trace", async () => {
    const { exitCode, stdout, stderr } = await glimpse("describe", "--json", "--model", "/nowhere/model", picture);
    expect(JSON.parse(stdout)).toMatchObject({ picture, error: { code: "MODEL_NOT_FOUND" } });
    expect(stderr).toContain("/nowhere/model");
    expect(stderr).not.toMatch(/Traceback|\n +at /);
    expect(exitCode).toBe(1);
  });

  test("a reader that leaves is no error", async () => {
    // Many, so that there is something to write still when the reader has left at last.
    const pictures = Array(30).fill('"$2"').join(" ");
    const run = `"$0" "$1" describe ${pictures} | head -n 1; exit "\${PIPESTATUS[0]}"`;
    const piped = await execa("bash", ["-c", run, process.execPath, command, picture], { reject: false });
    expect(piped.stdout).toBe(`==> ${picture} <==`);
    expect(piped.stderr).not.toContain("EPIPE");
    expect(piped.exitCode).toBe(141);
  });

  test("Ctrl-C while the model loads ends the worker too, and exits with 130", async () => {
    // The interpreter tells its pid, to see that it ends.
    const python = await resolvePython();
    const wrapper = join(import.meta.dirname, "announcing-python.sh");
    const env = { GLIMPSE_PYTHON: wrapper, REAL_PYTHON: python, GLIMPSE_DEBUG: "1" };
    const child = execa(process.execPath, [command, "describe", picture], {
      env,
      reject: false,
      buffer: { stdout: true },
    });
    let worker = 0;
    for await (const line of child.iterable({ from: "stderr" })) {
      const announced = /pid=(\d+)/.exec(line);
      if (!announced) continue;
      worker = Number(announced[1]);
      child.kill("SIGINT");
    }
    expect((await child).exitCode).toBe(130);
    expect(() => process.kill(worker, 0)).toThrow("ESRCH");
  });
});
