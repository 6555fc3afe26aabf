// Every example is run, and what it says is checked. They share one worker, so that the model is loaded once.
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, parse } from "node:path";
import { PassThrough } from "node:stream";
import { type Attributes, type Span, type SpanOptions, SpanStatusCode, type Tracer, trace } from "@opentelemetry/api";
import { imageSize } from "image-size";
import { afterAll, afterEach, beforeAll, expect, onTestFinished, test, vi } from "vitest";
import { packageRoot } from "../../orchestrator/package-root.ts";
import type { Glimpse, LaunchOptions } from "../../sdk/index.ts";

const shared = vi.hoisted(() => ({
  glm: undefined as Glimpse | undefined,
  /** What is added to what an example asks. */
  asks: {},
}));

vi.mock("../../sdk/index.ts", async (original) => {
  const sdk = await original<typeof import("../../sdk/index.ts")>();
  const launch = async (options: LaunchOptions = {}): Promise<Glimpse> => {
    if (Object.keys(options).length > 0) return sdk.launch(options);
    shared.glm ??= await sdk.launch();
    const { glm } = shared;
    // It closes what it launched; the worker stays for the next example.
    return new Proxy(glm, {
      get: (_, name) => {
        if (name === "close" || name === Symbol.asyncDispose) return async () => {};
        if (name === "stream") return (input: object) => Reflect.apply(glm.stream, glm, [{ ...input, ...shared.asks }]);
        const value: unknown = Reflect.get(glm, name, glm);
        return typeof value === "function" ? value.bind(glm) : value;
      },
    });
  };
  return { ...sdk, launch };
});

const directory = mkdtempSync(join(tmpdir(), "glimpse-examples-"));
const argv = process.argv;
beforeAll(() => process.chdir(directory));
afterEach(() => {
  process.argv = argv;
  vi.restoreAllMocks();
});
afterAll(async () => {
  await shared.glm?.close();
  process.chdir(packageRoot);
  rmSync(directory, { recursive: true });
});

/** Runs an example in this process, and gives what it prints. */
async function run(name: string, ...args: string[]): Promise<{ stdout: string; stderr: string }> {
  const printed = { stdout: "", stderr: "" };
  for (const stream of ["stdout", "stderr"] as const) {
    vi.spyOn(process[stream], "write").mockImplementation((text) => {
      printed[stream] += text;
      return true;
    });
  }
  vi.spyOn(console, "log").mockImplementation((text) => {
    printed.stdout += `${text}\n`;
  });
  vi.spyOn(console, "error").mockImplementation((text) => {
    printed.stderr += `${text}\n`;
  });
  process.argv = [process.execPath, name, ...args];
  vi.resetModules();
  await import(`../../examples/${name}.ts`);
  vi.restoreAllMocks();
  return printed;
}

const sentence = "A red circle, an orange star and a blue square on a white background.";
const pages = join(packageRoot, "examples", "pictures", "pages");

test("describe", async () => {
  const { stdout, stderr } = await run("describe");
  expect(stdout).toMatch(new RegExp(`^${sentence}\n\\d+ tokens of picture, \\d+ tokens of answer\n$`));
  expect(stderr).toMatch(/^I see 3 shapes\.\n\d+ ms to the first token\n$/);
});

test("the text of a folder's pages, as Markdown and as lines of JSON; a second run asks nothing again", async () => {
  const shopping = "# Shopping\n\n- milk\n- bread\n- lamp";
  const fruit = "| Fruit | Count |\n| --- | --- |\n| Apple | 3 |\n| Pear | 12 |";
  for (const round of ["first", "second"]) {
    const { stdout, stderr } = await run("ocr-folder", pages, "ocr");
    expect(stdout).toBe("2 pages are in ocr\n");
    expect(stderr).toContain("[####################] 2 of 2");
    expect(readFileSync("ocr/shopping.md", "utf8"), round).toBe(`${shopping}\n`);
    const lines = readFileSync("ocr/pages.jsonl", "utf8").trim().split("\n");
    expect(lines.map((line) => JSON.parse(line))).toEqual([
      { source: "fruit.png", text: fruit },
      { source: "shopping.png", text: shopping },
    ]);
  }
  expect(readFileSync("ocr/journal.jsonl", "utf8").trim().split("\n")).toHaveLength(2);
});

test("captions of a folder, as CSV", async () => {
  const { stdout, stderr } = await run("caption-folder");
  expect(stderr).toBe("");
  const [head, ...rows] = stdout.trim().split("\n");
  expect(head).toBe('"picture","caption"');
  expect(rows).toEqual([
    '"0.png","A red square on a white background."',
    '"1.png","A red square on a white background."',
    '"2.png","A blue square on a white background."',
    '"3.png","A blue square on a white background."',
  ]);
});

test("things in a picture, and a picture of their boxes", async () => {
  const { stdout } = await run("locate", "boxes.png");
  // Where examples/pictures/shapes.png has them.
  const drawn = {
    "the red circle": [40, 60, 180, 200],
    "the orange star": [204, 30, 356, 174],
    "the blue square": [390, 150, 520, 280],
  };
  const lines = stdout.trim().split("\n");
  expect(lines.at(-1)).toBe("the picture is boxes.png");
  for (const [index, [thing, corners]] of Object.entries(drawn).entries()) {
    const [, label, numbers = ""] = /^(.*): (.*)$/.exec(lines[index] ?? "") ?? [];
    expect(label).toBe(thing);
    for (const [at, edge] of numbers.split(", ").map(Number).entries()) {
      expect(Math.abs(edge - (corners[at] ?? 0)), `${thing}: ${numbers}`).toBeLessThan(20);
    }
  }
  expect(imageSize(readFileSync("boxes.png"))).toMatchObject({ type: "png", width: 560, height: 336 });
});

test("video", async () => {
  expect((await run("video")).stdout).toMatch(/^The red square turns blue\. \(\d+ tokens of video\)\n$/);
});

test("chat, whose later turns know what was computed", async () => {
  const stdin = new PassThrough();
  vi.spyOn(process, "stdin", "get").mockReturnValue(stdin as unknown as typeof process.stdin);
  stdin.end("How many shapes are there?\n\nWhat colour is the circle?\n");
  const { stdout } = await run("chat");
  const [first, , second, known] = stdout.split("\n");
  expect(first).toMatch(/\b(three|3)\b/i);
  expect(second).toMatch(/red/i);
  expect(Number(/\((\d+) of/.exec(known ?? "")?.[1])).toBeGreaterThan(16);
});

test("many workers", async () => {
  const { stdout } = await run("many-workers");
  const lines = stdout.trim().split("\n");
  expect(lines).toHaveLength(14);
  for (const index of Array(12).keys()) {
    expect(lines[index]).toContain(`What is ${index} + ${index + 1}? `);
    expect(lines[index]).toContain(`${2 * index + 1}`);
  }
  const answers = lines.slice(12).map((line) => Number(/^worker-\d on cpu: (\d+) answers$/.exec(line)?.[1]));
  expect(answers[0]).toBeGreaterThan(0);
  expect(answers[1]).toBeGreaterThan(0);
  expect((answers[0] ?? 0) + (answers[1] ?? 0)).toBe(12);
});

test("cancel", async () => {
  // So that it cannot be over before the example looks, it counts much further than the embedded model would.
  shared.asks = { output: { type: "string", pattern: "^([0-9], ){300}$" } };
  onTestFinished(() => {
    shared.asks = {};
  });
  expect((await run("cancel")).stdout.split("\n")).toEqual([
    "left the loop: cancelled",
    expect.stringMatching(/^cancel\(\): cancelled after \d+ tokens$/),
    "a signal: ABORTED, with what there was of the answer",
    "",
  ]);
});

test("the AI SDK", async () => {
  const { stdout, stderr } = await run("ai-sdk");
  expect(stderr).toBe("I see 3 shapes.");
  expect(stdout.split("\n")).toEqual([
    sentence,
    "28 tokens, of which 8 of thinking",
    "4 items from Lamp Market: 42.00",
    "",
  ]);
});

test("OpenTelemetry spans, with the names of its conventions", async () => {
  const spans: { name: string; attributes: Attributes; events: string[]; status: unknown; ended: boolean }[] = [];
  const startSpan = (name: string, options: SpanOptions = {}): Span => {
    const span = {
      name,
      attributes: { ...options.attributes },
      events: [] as string[],
      status: undefined as unknown,
      ended: false,
    };
    spans.push(span);
    return {
      setAttribute: (key: string, value: string) => Object.assign(span.attributes, { [key]: value }),
      setAttributes: (attributes: Attributes) => Object.assign(span.attributes, attributes),
      addEvent: (event: string) => span.events.push(event),
      setStatus: (status: unknown) => {
        span.status = status;
      },
      end: () => {
        span.ended = true;
      },
    } as unknown as Span;
  };
  vi.spyOn(trace, "getTracer").mockReturnValue({ startSpan } as unknown as Tracer);
  const { stdout } = await run("otel");
  expect(stdout).toBe(`${sentence}\nFILE_NOT_FOUND\n`);
  expect(spans).toHaveLength(2);
  expect(spans[0]).toMatchObject({
    name: expect.stringMatching(/^chat .*embedded$/),
    events: ["first token"],
    ended: true,
    attributes: {
      "gen_ai.operation.name": "chat",
      "gen_ai.request.seed": 7,
      "gen_ai.response.finish_reasons": ["stop"],
      "gen_ai.usage.input_tokens": expect.any(Number),
      "gen_ai.usage.output_tokens": expect.any(Number),
    },
  });
  expect(spans[1]).toMatchObject({
    attributes: { "error.type": "FILE_NOT_FOUND" },
    status: { code: SpanStatusCode.ERROR },
    ended: true,
  });
});

test("an invoice: its items as they are read, and the checked sum", async () => {
  const { stdout } = await run("invoice");
  expect(stdout.split("\n")).toEqual([
    "  Lamp       24.50",
    "  Cable       6.20",
    "  Switch      3.90",
    "  Socket      7.40",
    "4 items from Lamp Market: 42.00",
    "",
  ]);
});

test("no example goes unchecked", () => {
  const source = ["examples.test.ts", "docs.test.ts"]
    .map((name) => readFileSync(join(packageRoot, "test", "docs", name), "utf8"))
    .join();
  const names = readdirSync(join(packageRoot, "examples")).filter((name) => name.endsWith(".ts"));
  expect(names.length).toBeGreaterThan(8);
  expect(
    names.filter((name) => !source.includes(`run("${parse(name).name}"`) && !source.includes(`run("examples/${name}"`)),
  ).toEqual([]);
});
