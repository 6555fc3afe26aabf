import { appendFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { z } from "zod";
import type { BatchProgress } from "../../sdk/batch/progress.ts";
import type { BatchItem } from "../../sdk/batch/run.ts";
import { client, echo, fail, type Respond, say } from "./answering-transport.ts";
import { done } from "./memory-transport.ts";

const ask = (prompt: string) => ({ prompt });
const letters = [..."abcdefghij"];
const brief = <Item>(ending: BatchItem<Item>): string => (ending.ok ? ending.result.text : ending.error.code);

async function collect<T>(items: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = [];
  for await (const item of items) all.push(item);
  return all;
}

/** Answers a request only when told to. */
function held(): { respond: Respond; release: (text: string) => void } {
  const open = new Map<string, () => void>();
  return {
    respond: (text, emit) => open.set(text, () => echo(text, emit)),
    release: (text) => {
      open.get(text)?.();
      open.delete(text);
    },
  };
}

const turn = () => new Promise((resolve) => setImmediate(resolve));

test("every item has its answer, in the order of the items", async () => {
  const { glm, transport } = client();
  const endings = await collect(glm.batch(letters, ask));
  expect(endings.map(brief)).toEqual(letters.map((letter) => letter.toUpperCase()));
  expect(endings.map(({ index, item }) => [index, item])).toEqual(letters.map((letter, index) => [index, letter]));
  // What the worker has slots for.
  expect(transport.mostRunning).toBe(4);
});

test("items may come from a generator, an async one, a set; and there may be none", async () => {
  const { glm } = client();
  const slowly = async function* () {
    for (const letter of letters) {
      await turn();
      yield letter;
    }
  };
  for (const items of [slowly(), new Set(letters), letters.values()]) {
    expect((await collect(glm.batch(items, ask))).map(brief).join("")).toBe("ABCDEFGHIJ");
  }
  expect(await collect(glm.batch([], ask))).toEqual([]);
});

test("as completed, the quick ones come first", async () => {
  const { respond, release } = held();
  const { glm, transport } = client(respond);
  const loop = glm.batch(["a", "b"], ask, { order: "completed" })[Symbol.asyncIterator]();
  const first = loop.next();
  await vi.waitFor(() => expect(transport.asked).toEqual(["a", "b"]));
  await turn();
  release("b");
  expect(await first).toMatchObject({ value: { item: "b", index: 1 } });
  release("a");
  expect(await loop.next()).toMatchObject({ value: { item: "a", index: 0 } });
  expect(await loop.next()).toEqual({ done: true, value: undefined });
});

test("an item that fails is an item with an error, and the others go on", async () => {
  const { glm } = client((text, emit) => (text === "b" ? emit(fail("GENERATION_FAILED")) : echo(text, emit)));
  const toInput = (letter: string) => {
    if (letter === "c") throw new Error("no such letter");
    return letter === "d" ? { prompt: letter, temperature: -1 } : { prompt: letter };
  };
  const endings = await collect(glm.batch(letters.slice(0, 5), toInput));
  expect(endings.map(brief)).toEqual(["A", "GENERATION_FAILED", "INVALID_REQUEST", "INVALID_REQUEST", "E"]);
  expect(endings[2]).toMatchObject({ error: { message: "batch(): toInput failed for item 2: Error: no such letter" } });
});

test("a million items are not taken before there is room for them: memory is bounded", async () => {
  const { glm, transport } = client();
  let taken = 0;
  const many = function* () {
    for (; taken < 1_000_000; taken += 1) yield String(taken);
  };
  let read = 0;
  for await (const _ of glm.batch(many(), ask, { concurrency: 3 })) {
    await turn();
    await turn();
    read += 1;
    // Under way, or waiting to be read: twice the concurrency, and one that is being taken.
    expect(taken - read).toBeLessThanOrEqual(2 * 3 + 1);
    if (read === 50) break;
  }
  expect(transport.mostRunning).toBe(3);
  expect(taken).toBeLessThan(60);
});

test("leaving the loop cancels what is under way and closes the source", async () => {
  const { respond, release } = held();
  const { glm, transport } = client(respond);
  let closed = false;
  const source = async function* () {
    try {
      yield* letters;
    } finally {
      closed = true;
    }
  };
  const loop = glm.batch(source(), ask)[Symbol.asyncIterator]();
  const first = loop.next();
  await vi.waitFor(() => expect(transport.asked).toHaveLength(4));
  await turn();
  release("a");
  await first;
  await loop.return?.();
  expect(transport.requests.slice(1).every(({ cancelled }) => cancelled)).toBe(true);
  await vi.waitFor(() => expect(closed).toBe(true));
  expect(await loop.next()).toEqual({ done: true, value: undefined });
});

test("leaving the loop does not wait for a source that waits itself", async () => {
  const { glm } = client();
  const source = async function* () {
    yield "a";
    await new Promise(() => {});
  };
  const endings: string[] = [];
  for await (const ending of glm.batch(source(), ask)) {
    endings.push(brief(ending));
    break;
  }
  expect(endings).toEqual(["A"]);
});

test("a signal ends the batch: the loop throws ABORTED and nothing runs on", async () => {
  const { glm, transport } = client(() => {});
  const controller = new AbortController();
  const all = collect(glm.batch(letters, ask, { signal: controller.signal }));
  await vi.waitFor(() => expect(transport.asked).toHaveLength(4));
  controller.abort(new Error("enough"));
  await expect(all).rejects.toMatchObject({ code: "ABORTED", cause: new Error("enough") });
  expect(transport.requests.every(({ cancelled }) => cancelled)).toBe(true);
  await expect(collect(glm.batch(letters, ask, { signal: controller.signal }))).rejects.toThrow("aborted");
  expect(transport.asked).toHaveLength(4);
});

test("when the source fails, what it gave is answered first", async () => {
  const { glm } = client();
  const source = function* () {
    yield "a";
    yield "b";
    throw new Error("the disk is gone");
  };
  const seen: string[] = [];
  const loop = async () => {
    for await (const ending of glm.batch(source(), ask)) seen.push(brief(ending));
  };
  await expect(loop()).rejects.toThrow("the disk is gone");
  expect(seen).toEqual(["A", "B"]);
});

test("a source that cannot be begun fails the loop", async () => {
  const { glm } = client();
  const source: Iterable<string> = {
    [Symbol.iterator]: () => {
      throw new Error("no such table");
    },
  };
  await expect(collect(glm.batch(source, ask))).rejects.toThrow("no such table");
});

test("a source that fails when it is closed holds up nobody who leaves the loop", async () => {
  const { glm } = client();
  const source: Iterable<string> = {
    [Symbol.iterator]: () => ({
      next: () => ({ done: false, value: "a" }),
      return: () => {
        throw new Error("it cannot be closed");
      },
    }),
  };
  for await (const ending of glm.batch(source, ask)) {
    expect(brief(ending)).toBe("A");
    break;
  }
});

test("a loop that was ended before it began takes nothing", async () => {
  const { glm, transport } = client();
  const controller = new AbortController();
  const listening = vi.spyOn(controller.signal, "addEventListener");
  const items = vi.fn(() => letters.values());
  const source = { [Symbol.iterator]: items };
  const loop = glm.batch(source, ask, { signal: controller.signal })[Symbol.asyncIterator]();
  await loop.return?.();
  expect(await loop.next()).toEqual({ done: true, value: undefined });
  expect(items).not.toHaveBeenCalled();
  expect(listening).not.toHaveBeenCalled();
  expect(transport.asked).toEqual([]);
});

test("a full queue is waited for", async () => {
  let full = 3;
  const { glm, transport } = client((text, emit) => (full-- > 0 ? emit(fail("QUEUE_FULL")) : echo(text, emit)));
  expect((await collect(glm.batch(["a", "b"], ask))).map(brief)).toEqual(["A", "B"]);
  expect(transport.asked).toHaveLength(5);
});

test("many items may wait for a full queue without a warning of Node's", async () => {
  const warnings: Error[] = [];
  const onWarning = (warning: Error) => warnings.push(warning);
  process.on("warning", onWarning);
  let full = 30;
  const { glm } = client((text, emit) => (full-- > 0 ? emit(fail("QUEUE_FULL")) : echo(text, emit)));
  const items = Array.from({ length: 30 }, (_, index) => String(index));
  expect((await collect(glm.batch(items, ask, { concurrency: 30 }))).map(brief)).toEqual(items);
  await turn();
  process.off("warning", onWarning);
  expect(warnings).toEqual([]);
});

test.each(["DISPOSED", "CONNECTION_LOST"] as const)(
  "a client that is closed or cut off ends the batch, not each of a million items: %s",
  async (code) => {
    const { glm, transport } = client((_, emit) => emit(fail(code)));
    await expect(collect(glm.batch(letters, ask))).rejects.toMatchObject({ code });
    expect(transport.asked.length).toBeLessThanOrEqual(4);
  },
);

test("progress counts what has ended, and what it throws ends the batch", async () => {
  const { glm } = client((text, emit) => (text === "b" ? emit(fail("GENERATION_FAILED")) : echo(text, emit)));
  const seen: BatchProgress[] = [];
  await collect(glm.batch(letters, ask, { concurrency: 1, onProgress: (progress) => seen.push(progress) }));
  expect(seen.map(({ done, failed, total }) => [done, failed, total])).toEqual(
    letters.map((_, index) => [index + 1, index > 0 ? 1 : 0, 10]),
  );
  expect(seen.at(-1)?.remainingMs).toBe(0);
  const thrower = () => {
    throw new Error("no terminal");
  };
  await expect(collect(glm.batch(letters, ask, { onProgress: thrower }))).rejects.toThrow("no terminal");
});

test("each loop over a batch is a run of its own", async () => {
  const { glm, transport } = client();
  const batch = glm.batch(["a"], ask);
  expect(transport.asked).toEqual([]);
  await collect(batch);
  await collect(batch);
  expect(transport.asked).toEqual(["a", "a"]);
});

test("wrong arguments are refused by name", () => {
  const { glm } = client();
  const refused = (...args: unknown[]) => {
    try {
      (glm.batch as (...args: unknown[]) => unknown)(...args);
    } catch (error) {
      return (error as Error).message;
    }
    return "taken";
  };
  expect(refused("abc", ask)).toBe('batch(): items: expected an array or another (async) iterable, got "abc"');
  expect(refused([], {})).toBe("batch(): toInput: expected a function from an item to a request, got an object");
  expect(refused([], ask, { concurrency: 0 })).toContain("batch(): concurrency: expected a whole number");
  expect(refused([], ask, { order: "random" })).toContain('batch(): order: expected "input" or "completed"');
  expect(refused([], ask, { paralel: 1 })).toContain("batch(): expected only concurrency, order");
});

describe("items with a schema", () => {
  const day = z.object({ at: z.iso.date().transform((text) => new Date(text)), count: z.int() });
  const ask = (answer: string) => ({ prompt: answer, output: day });
  const repeat: Respond = (text, emit) => {
    emit(say(text));
    emit(done("stop"));
  };
  const good = '{"at":"2026-11-30","count":2}';

  test("have its output, or an error that says what is wrong", async () => {
    const { glm } = client(repeat);
    const [first, second, third] = await collect(glm.batch([good, '{"at":"2026-11-30","count":1.5}', "{"], ask));
    expect(first).toMatchObject({ ok: true, result: { output: { at: new Date("2026-11-30"), count: 2 } } });
    expect(second).toMatchObject({ ok: false, error: { code: "OUTPUT_INVALID", issues: [{ path: ["count"] }] } });
    expect(third).toMatchObject({ ok: false, error: { code: "OUTPUT_INVALID", partial: { text: "{" } } });
  });

  test("may stand among others without", async () => {
    const { glm } = client(repeat);
    const [first, second] = await collect(
      glm.batch([good, "a"], (text) => (text === "a" ? { prompt: text } : ask(text))),
    );
    expect(first).toMatchObject({ result: { output: { count: 2 } } });
    expect(second).not.toHaveProperty("result.output");
  });
});

describe("a journal", () => {
  let directory: string;
  let journal: string;
  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), "glimpse-journal-"));
    journal = join(directory, "run.jsonl");
  });
  afterEach(() => rmSync(directory, { recursive: true }));

  const lines = () => readFileSync(journal, "utf8").split("\n").filter(Boolean);

  test("lets a run go on where it was interrupted, and failed items are tried again", async () => {
    let broken = true;
    const { glm, transport } = client((text, emit) =>
      text === "b" && broken ? emit(fail("GENERATION_FAILED")) : echo(text, emit),
    );
    for await (const { item } of glm.batch(letters, ask, { journal, concurrency: 1 })) if (item === "d") break;
    // Torn by the interruption: a line without its end.
    appendFileSync(journal, '{"key":"e","resul');
    broken = false;
    const before = transport.asked.length;
    const progress: BatchProgress[] = [];
    const onProgress = (one: BatchProgress) => progress.push(one);
    const endings = await collect(glm.batch(letters, ask, { journal, onProgress }));
    expect(endings.map(brief).join("")).toBe("ABCDEFGHIJ");
    const given = endings.filter((ending) => ending.ok && ending.fromJournal).map(({ item }) => item);
    expect(given.slice(0, 3)).toEqual(["a", "c", "d"]);
    expect(transport.asked.slice(before)).toEqual(letters.filter((letter) => !given.includes(letter)));
    expect(progress.at(-1)).toMatchObject({ done: 10, fromJournal: given.length });
    expect(new Set(lines().map((line) => JSON.parse(line).key))).toEqual(new Set(letters));
    expect(lines()).toHaveLength(10);
  });

  test("gives the whole result again", async () => {
    const { glm } = client();
    const [first] = await collect(glm.batch(["a"], ask, { journal }));
    const [again] = await collect(glm.batch(["a"], ask, { journal }));
    expect(again).toEqual({ ...JSON.parse(JSON.stringify(first)), fromJournal: true });
  });

  test("gives outputs again as the schema makes them, also those that JSON cannot hold", async () => {
    const { glm, transport } = client((_, emit) => {
      emit(say('{"at":"2026-11-30","cents":"9007199254740993"}'));
      emit(done("stop"));
    });
    const bill = z.object({
      at: z.iso.date().transform((text) => new Date(text)),
      cents: z.string().transform((digits) => BigInt(digits)),
    });
    const run = () => collect(glm.batch(["a"], (prompt) => ({ prompt, output: bill }), { journal }));
    const output = { at: new Date("2026-11-30"), cents: 9007199254740993n };
    expect(await run()).toMatchObject([{ fromJournal: false, result: { output } }]);
    expect(await run()).toMatchObject([{ fromJournal: true, result: { output, usage: { completionTokens: 3 } } }]);
    expect(transport.asked).toHaveLength(1);
  });

  test("asks again for what the schema has come to refuse", async () => {
    let answer = '{"count":-1}';
    const { glm, transport } = client((_, emit) => {
      emit(say(answer));
      emit(done("stop"));
    });
    const run = (count: z.ZodNumber) =>
      collect(glm.batch(["a"], (prompt) => ({ prompt, output: z.object({ count }) }), { journal }));
    await run(z.int());
    answer = '{"count":1}';
    const positive = z.int().positive();
    expect(await run(positive)).toMatchObject([{ fromJournal: false, result: { output: { count: 1 } } }]);
    expect(await run(positive)).toMatchObject([{ fromJournal: true, result: { output: { count: 1 } } }]);
    expect(transport.asked).toHaveLength(2);
  });

  test("asks for no request of an item that it can give without a schema", async () => {
    const { glm } = client();
    await collect(glm.batch(["a"], ask, { journal }));
    const toInput = vi.fn(ask);
    expect((await collect(glm.batch(["a"], toInput, { journal }))).map(brief)).toEqual(["A"]);
    expect(toInput).not.toHaveBeenCalled();
  });

  test("holds long lines with any character", async () => {
    const { glm, transport } = client();
    const items = ["ä€😀\n\u2028", "x".repeat(100_000), "y"];
    await collect(glm.batch(items, ask, { journal }));
    const again = await collect(glm.batch(items, ask, { journal }));
    expect(again.map(brief)).toEqual(items.map((item) => item.toUpperCase()));
    expect(transport.asked).toHaveLength(3);
  });

  test("needs a key for items that are no strings", async () => {
    const { glm } = client();
    const items = [{ id: 1 }, { id: 2 }];
    const toInput = ({ id }: { id: number }) => ({ prompt: `n${id}` });
    const refused = await collect(glm.batch(items, toInput, { journal }));
    expect(refused[0]).toMatchObject({
      error: { message: "batch(): key of item 0: expected a string, got an object" },
    });
    const key = () => {
      throw new Error("no id");
    };
    expect((await collect(glm.batch(items, toInput, { journal, key })))[1]).toMatchObject({
      error: { code: "INVALID_REQUEST", message: "batch(): key failed for item 1: Error: no id" },
    });
    await collect(glm.batch(items, toInput, { journal, key: ({ id }) => `${id}` }));
    expect(lines().map((line) => JSON.parse(line).key)).toEqual(["1", "2"]);
  });

  test("that is another file is refused, and left as it is", async () => {
    const { glm, transport } = client();
    for (const text of ["name,caption\n", "no end of line", '{"key":"a","result":{}}\n{"other":1']) {
      writeFileSync(journal, text);
      await expect(collect(glm.batch(letters, ask, { journal }))).rejects.toMatchObject({ code: "INVALID_REQUEST" });
      expect(readFileSync(journal, "utf8")).toBe(text);
    }
    const nowhere = join(directory, "no", "such", "directory");
    await expect(collect(glm.batch(letters, ask, { journal: nowhere }))).rejects.toMatchObject({
      message: expect.stringContaining("ENOENT"),
      hint: "Make its directory first.",
    });
    expect(transport.asked).toEqual([]);
  });
});
