import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type Answer, inFlight, requestOf } from "../../models/evaluation/ask.ts";
import { checkCard, writeCard } from "../../models/evaluation/card.ts";
import { entropyOf, judgeChances } from "../../models/evaluation/chance.ts";
import { drawnGroups } from "../../models/evaluation/draw.ts";
import { listFailures } from "../../models/evaluation/failures.ts";
import { chanceFigures, figureRows, groupFigures, targets } from "../../models/evaluation/figures.ts";
import { boxGrid, gridRows } from "../../models/evaluation/grid.ts";
import { judge, type Outcome, overlap } from "../../models/evaluation/judge.ts";
import { modestSentences, photographSamples } from "../../models/evaluation/photographs.ts";
import { markdownTable, reportOf } from "../../models/evaluation/report.ts";
import { parseSample, readSamples, type Sample } from "../../models/evaluation/samples.ts";
import { tilesOf } from "../../models/evaluation/show.ts";
import { packageRoot } from "../../orchestrator/package-root.ts";

const line = {
  group: "describe",
  question: "Describe this image.",
  answer: "A red circle.",
  images: ["circle.png"],
  video: null,
  check: "exact",
  facts: { shapes: 1 },
};

function sampleOf(fields: object = {}): Sample {
  return parseSample(JSON.stringify({ ...line, ...fields }), "/drawn", "samples.jsonl:1");
}

function boxSample(fields: object = {}): Sample {
  const answer = "<|begin_of_box|>[[0,0,100,100]]<|end_of_box|>";
  const facts = { width: 100, height: 100 };
  return sampleOf({ group: "boxes", answer, check: "box", box: [0, 0, 10, 10], facts, ...fields });
}

function answerOf(text: string, fields: Partial<Answer> = {}): Answer {
  return { text, boxes: [], finishReason: "stop", ...fields };
}

function boxAnswer(...boxes: [number, number, number, number][]): Answer {
  return answerOf("[[0,0,1,1]]", { boxes: boxes.map((box) => ({ image: 0, box })) });
}

function scoreOf(sample: Sample, answer: Answer): number {
  return judge(sample, answer).score;
}

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "glimpse-evaluation-test-"));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe("samples", () => {
  test("of a folder have the paths of their pictures", async () => {
    const clip = { ...line, images: [], video: { frames: ["a.png", "b.png"], fps: 2 } };
    writeFileSync(join(folder, "samples.jsonl"), `${JSON.stringify(line)}\n${JSON.stringify(clip)}\n`);
    const [first, second] = await readSamples(folder);
    expect(first).toEqual({ ...line, images: [join(folder, "circle.png")] });
    expect(second?.video).toEqual({ frames: [join(folder, "a.png"), join(folder, "b.png")], fps: 2 });
  });

  test.each([
    ["an unknown check", { check: "roughly" }, "check"],
    ["a box without the picture's size", { check: "box", box: [0, 0, 1, 1] }, "width"],
    ["a box of three numbers", { check: "box", box: [0, 0, 1], facts: { width: 9, height: 9 } }, "box"],
    ["a field that is not known", { colour: "red" }, "colour"],
  ])("are refused with %s", (_, fields, named) => {
    expect(() => sampleOf(fields)).toThrow(new RegExp(`samples.jsonl:1: expected a sample.*${named}`, "s"));
  });

  test("become greedy requests", () => {
    const greedy = { prompt: line.question, temperature: 0 };
    expect(requestOf(sampleOf())).toMatchObject({ ...greedy, images: ["/drawn/circle.png"] });
    const clip = requestOf(sampleOf({ images: [], video: { frames: ["a.png"], fps: 2 } }));
    expect(clip).toMatchObject({ ...greedy, video: expect.anything() });
    expect(clip).not.toHaveProperty("images");
  });
});

describe("an answer", () => {
  test("exact: every character counts, and it must have ended", () => {
    const sample = sampleOf({ answer: "Talk 2" });
    expect(scoreOf(sample, answerOf("Talk 2"))).toBe(1);
    for (const text of ["Tall 2", "Talk 2 ", " Talk 2", "talk 2", "Talk 2.", ""]) {
      expect(scoreOf(sample, answerOf(text)), text).toBe(0);
    }
    expect(scoreOf(sample, answerOf("Talk 2", { finishReason: "length" }))).toBe(0);
  });

  test("json: values count, not the order of keys or white space", () => {
    const sample = sampleOf({ check: "json", answer: '{"shop": "A", "items": [{"price": 1.50}, {"price": 2}]}' });
    expect(scoreOf(sample, answerOf('{"items":[{"price":1.5},{"price":2}],"shop":"A"}'))).toBe(1);
    const others = [
      '{"items":[{"price":2},{"price":1.5}],"shop":"A"}',
      '{"items":[{"price":1.5},{"price":2}]}',
      '{"items":[{"price":"1.5"},{"price":2}],"shop":"A"}',
      '{"items":[{"price":1.5},{"price":2}],"shop":"A","total":3.5}',
      '{"items":[{"price":1.5},{"price":2}],"shop":"A"',
      "",
    ];
    for (const text of others) expect(scoreOf(sample, answerOf(text)), text).toBe(0);
    expect(scoreOf(sample, answerOf(sample.answer, { finishReason: "length" }))).toBe(0);
  });

  test("box: exactly one, and as good as it overlaps", () => {
    const sample = boxSample();
    expect(scoreOf(sample, boxAnswer([0, 0, 10, 10]))).toBe(1);
    expect(scoreOf(sample, boxAnswer([0, 0, 10, 5]))).toBe(0.5);
    expect(scoreOf(sample, boxAnswer())).toBe(0);
    expect(scoreOf(sample, boxAnswer([0, 0, 10, 10], [0, 0, 10, 10]))).toBe(0);
    expect(scoreOf(sample, { ...boxAnswer([0, 0, 10, 10]), finishReason: "length" })).toBe(0);
  });

  test.each([
    ["the same", [10, 20, 30, 60], [10, 20, 30, 60], 1],
    ["a half", [0, 0, 10, 10], [0, 0, 5, 10], 0.5],
    ["a corner", [0, 0, 2, 2], [1, 1, 3, 3], 1 / 7],
    ["neighbours", [0, 0, 2, 2], [2, 0, 4, 2], 0],
    ["apart on both axes", [0, 0, 1, 1], [5, 5, 6, 6], 0],
    ["corners in the wrong order", [10, 10, 0, 0], [0, 0, 10, 10], 0],
    ["nothing", [3, 3, 3, 3], [3, 3, 3, 3], 0],
  ] as const)("overlap of %s", (_, one, other, expected) => {
    expect(overlap(one, other)).toBeCloseTo(expected, 12);
    expect(overlap(other, one)).toBeCloseTo(expected, 12);
  });
});

describe("a photograph", () => {
  test("is asked five questions, each of all twenty", async () => {
    const samples = await photographSamples();
    const pictures = new Set(samples.flatMap(({ images }) => images));
    expect({ samples: samples.length, pictures: pictures.size }).toEqual({ samples: 100, pictures: 20 });
    for (const picture of pictures) expect(readFileSync(picture).length).toBeGreaterThan(0);
  });

  test("may be answered modestly, whatever the question", async () => {
    for (const sample of (await photographSamples()).slice(0, 5)) {
      for (const text of [sample.answer, ...modestSentences]) expect(scoreOf(sample, answerOf(text)), text).toBe(1);
      const [modest = ""] = modestSentences;
      expect(scoreOf(sample, answerOf(modest, { finishReason: "length" }))).toBe(0);
      expect(scoreOf(sample, { ...boxAnswer([0, 0, 1, 1]), text: modest })).toBe(0);
    }
  });

  test("is answered wrongly by any claim of a shape, a text or a place", async () => {
    const claims = [
      "A red circle on a white background.",
      "This looks like a photograph. I see a star.",
      'The text "GLIMPSE" in red on a white background.',
      "GLIMPSE",
      "3",
      "yes",
      "[[0,0,500,500]]",
      "",
    ];
    for (const sample of (await photographSamples()).slice(0, 5)) {
      for (const text of claims) expect(scoreOf(sample, answerOf(text)), `${sample.question} ${text}`).toBe(0);
    }
  });

  test("may be denied only what was asked for: a number or a no is elsewhere a text that was read", async () => {
    const [describing, reading, counting, existing, locating] = await photographSamples();
    const denials = ["0", "no", "No.", "There is no blue square."];
    const allowed = [describing, reading, counting, existing, locating].map((sample) =>
      denials.filter((text) => sample !== undefined && scoreOf(sample, answerOf(text)) === 1),
    );
    expect(allowed).toEqual([[], [], ["0"], ["no", "No."], ["There is no blue square."]]);
  });

  test("is answered in the sentences of the training, and none of them names a shape", () => {
    const training = join(packageRoot, "models", "training");
    const sources = readdirSync(training)
      .filter((name) => name.endsWith(".py"))
      .map((name) => readFileSync(join(training, name), "utf8"))
      .join("");
    for (const sentence of modestSentences) {
      expect(sources).toContain(`"${sentence}"`);
      expect(sentence).not.toMatch(/\b(circle|square|triangle|star|diamond|cross)/i);
    }
  });
});

describe("the grid of boxes", () => {
  const sized = (width: number, height: number, score: number): Outcome => ({
    sample: boxSample({ facts: { width, height } }),
    answer: answerOf(""),
    score,
  });

  test("has heights as rows and widths as columns, and an edge belongs to the larger cell", () => {
    const grid = boxGrid([
      sized(64, 1024, 1),
      sized(127, 512, 0.5),
      sized(128, 64, 0.25),
      sized(1025, 64, 0),
      sized(63, 64, 0),
      { ...sized(64, 64, 0), sample: sampleOf() },
    ]);
    expect(grid[3]?.[0]).toEqual({ samples: 2, meanIou: 0.75 });
    expect(grid[0]?.[1]).toEqual({ samples: 1, meanIou: 0.25 });
    expect(grid.flat().filter(({ samples }) => samples > 0)).toHaveLength(2);
    const [heads, ...rows] = gridRows(grid);
    expect(heads).toEqual(["mean IoU (samples)", "64–128 wide", "128–256 wide", "256–512 wide", "512–1024 wide"]);
    expect(rows[3]).toEqual(["512–1024 high", "0.750 (2)", "–", "–", "–"]);
  });
});

describe("chance", () => {
  test.each([
    ["always the same", ["7", "7", "7", "7"], 0],
    ["a fair coin", ["a", "b", "a", "b"], 1],
    ["eight alike", [..."abcdefgh"], 3],
    ["three to one", ["a", "a", "a", "b"], 2 - 0.75 * Math.log2(3)],
  ])("entropy of %s", (_, answers, bits) => {
    expect(entropyOf(answers)).toBeCloseTo(bits, 12);
  });

  test("counts the seeds that give the same answer again", () => {
    expect(judgeChances(["1", "2", "3", "1"], ["1", "9", "3", "2"])).toEqual({
      answers: 4,
      kinds: 3,
      entropy: 1.5,
      same: 2,
    });
  });
});

describe("figures", () => {
  const outcomes = [
    judge(sampleOf({ group: "video" }), answerOf("A red circle.")),
    judge(boxSample(), boxAnswer([0, 0, 10, 10])),
    judge(sampleOf(), answerOf("A blue\ncircle.")),
    judge(boxSample({ facts: { width: 100, height: 200 } }), boxAnswer([0, 0, 10, 5])),
    judge(sampleOf({ group: "video" }), answerOf("A red star.", { finishReason: "length" })),
  ];
  const chance = judgeChances(["1", "2"], ["1", "1"]);

  test("are shares of right answers, of boxes the overlaps, in the order of the samples", () => {
    expect(groupFigures(outcomes)).toEqual([
      { name: "video", counted: "1 of 2", value: 0.5 },
      { name: "boxes: mean IoU", counted: "1 of 2 above 0.75", value: 0.75 },
      { name: "boxes: worst cell", counted: "2 of 16 cells seen", value: 0.5 },
      { name: "describe", counted: "0 of 1", value: 0 },
    ]);
  });

  test("reach their target or miss it", () => {
    const figures = [
      { name: "video", counted: "97 of 100", value: 0.97 },
      { name: "describe", counted: "9799 of 10000", value: 0.9799 },
      { name: "something else", counted: "0 of 1", value: 0 },
    ];
    expect(figureRows(figures).slice(1)).toEqual([
      ["video", "97 of 100", "0.970", "0.97", "reached"],
      ["describe", "9799 of 10000", "0.980", "0.98", "missed"],
      ["something else", "0 of 1", "0.000", "–", "–"],
    ]);
  });

  test("that have a target exist", async () => {
    const groups = await drawnGroups(new AbortController().signal);
    const figures = [...groupFigures(outcomes), ...chanceFigures(chance)].map(({ name }) => name);
    const names = [...groups, "photographs", ...figures];
    expect(Object.keys(targets).filter((name) => !names.includes(name))).toEqual([]);
  });

  test("make a report that says how to have them again, and nothing that another run would not say", () => {
    const worker = {
      engine: "paged",
      dtype: "float32",
      device: { kind: "cpu", id: "cpu", name: "some processor" },
    } as const;
    const report = reportOf({ outcomes, chance }, { samples: 2, seed: 9, groups: ["video", "boxes"], worker });
    expect(report).toContain('`npx tsx models/evaluation/evaluate.ts --samples 2 --seed 9 --groups "video,boxes"`');
    expect(report).toContain("engine paged in float32 on cpu");
    expect(report).toMatch(/^\| chance: bits of entropy +\| 2 different in 2 +\| 1\.000 \| 3 +\| missed +\|$/m);
    expect(report).toMatch(/^\| chance: same seed, same answer +\| 1 of 2 +\| 0\.500 \| 1 +\| missed +\|$/m);
    expect(report).toMatch(/^\| 128–256 high +\| 0\.500 \(1\) +\|/m);
    expect(reportOf({ outcomes: [], chance }, { samples: 2, seed: 9, worker })).not.toContain("high");
  });

  test("line up as plain text and are a table in Markdown", () => {
    expect(markdownTable([["name", ""], ["a longer one", "1"], ["b"]])).toBe(
      ["| name         |     |", "| ------------ | --- |", "| a longer one | 1   |", "| b            |     |"].join(
        "\n",
      ),
    );
  });

  test("come with the wrong answers, a line each", () => {
    expect(listFailures(outcomes).split("\n")).toEqual([
      "describe:",
      '  circle.png "Describe this image.": "A blue\\ncircle.", not "A red circle.", shapes 1',
      "",
      "boxes:",
      '  circle.png "Describe this image.": "[[0,0,1,1]]", not "[[0,0,100,100]]", IoU 0.500, width 100, height 200',
      "",
      "video:",
      '  circle.png "Describe this image.": "A red star." (cut), not "A red circle.", shapes 1',
    ]);
  });

  test("come with pictures: of each group that has any the first answer", () => {
    const silent = judge(sampleOf({ group: "talk", images: [] }), answerOf("A red circle."));
    const tiles = tilesOf([silent, ...outcomes, ...outcomes], ({ score }) => score === 1);
    expect(tiles.map(({ group }) => group)).toEqual(["video", "boxes"]);
    expect(tiles[1]).toMatchObject({
      expected: "[[0,0,100,100]]",
      given: "[[0,0,1,1]]",
      expectedBoxes: [[0, 0, 10, 10]],
      givenBoxes: [[0, 0, 10, 10]],
      right: true,
    });
  });
});

describe("the card", () => {
  const before = "# Card\n\nWords | before.\n\n";
  const after = "\n\n## More\n";

  test("gets the figures between its markers, again and again, and keeps the rest", async () => {
    const path = join(folder, "card.md");
    writeFileSync(path, `${before}<!-- figures -->old<!-- /figures -->${after}`);
    await checkCard(path);
    for (const figures of ["| a |", "| $& |"]) {
      await writeCard(path, figures);
      const wanted = `${before}<!-- figures -->\n\n${figures}\n\n<!-- /figures -->${after}`;
      expect(readFileSync(path, "utf8")).toBe(wanted);
    }
  });

  test.each([
    ["no markers", ""],
    ["no end", "<!-- figures -->"],
    ["no begin", "<!-- /figures -->"],
    ["the other order", "<!-- /figures --><!-- figures -->"],
    ["two of them", "<!-- figures --><!-- /figures --><!-- figures --><!-- /figures -->"],
    ["two ends", "<!-- figures --><!-- /figures --><!-- /figures -->"],
    ["an end before them", "<!-- /figures --><!-- figures --><!-- /figures -->"],
  ])("is refused with %s, and stays as it is", async (_, markers) => {
    const path = join(folder, "unfit.md");
    writeFileSync(path, before + markers + after);
    await expect(checkCard(path)).rejects.toMatchObject({ code: "INVALID_REQUEST" });
    await expect(writeCard(path, "| a |")).rejects.toThrow(path);
    expect(readFileSync(path, "utf8")).toBe(before + markers + after);
  });

  test("must be there", async () => {
    await expect(checkCard("/nowhere/README.md")).rejects.toThrow("/nowhere/README.md, got no such file");
  });
});

describe("in flight", () => {
  test("are so many at a time, and the results keep their order", async () => {
    const releases: (() => void)[] = [];
    const work = (item: number) => new Promise<number>((resolve) => releases.push(() => resolve(item * 10)));
    const all = inFlight([1, 2, 3, 4, 5], work, 2);
    const started: number[] = [];
    for (const next of [1, 0, 2, 3, 4]) {
      started.push(releases.length);
      releases[next]?.();
      await new Promise(setImmediate);
    }
    expect(started).toEqual([2, 3, 4, 5, 5]);
    expect(await all).toEqual([10, 20, 30, 40, 50]);
  });

  test("one that fails fails all", async () => {
    await expect(inFlight([1, 2], (item) => Promise.reject(new Error(`number ${item}`)))).rejects.toThrow("number 1");
  });
});
