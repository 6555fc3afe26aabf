// The provider as a user has it: the packed package beside `ai`, in a project for each version of it.
import { copyFileSync } from "node:fs";
import { join } from "node:path";
import { execa } from "execa";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { packageRoot } from "../../orchestrator/package-root.ts";
import { resolvePython } from "../../orchestrator/python/resolve.ts";
import { drawPictures } from "../e2e/pictures.ts";
import { type PackedProject, packedProject } from "../packed-project.ts";

/** `ai` 7 wants Node 22; the registry has newer ones as packages. */
const newerNode = `node-${process.platform}-${process.arch}`;

const sentence = "A red circle, an orange star and a blue square on a white background.";
const thinking = "I see 3 shapes.";
const invoice = {
  shop: "Lamp Market",
  items: [
    { name: "Lamp", price: 24.5 },
    { name: "Cable", price: 6.2 },
    { name: "Switch", price: 3.9 },
    { name: "Socket", price: 7.4 },
  ],
  total: 42,
};

describe.each([
  { ai: "6.0.326", node: undefined },
  { ai: "7.0.173", node: "24.21.0" },
])("with ai $ai", ({ ai, node }) => {
  let project: PackedProject;
  let seen: Record<string, unknown>;

  beforeAll(async () => {
    const files = (await drawPictures("draw_files.py"))("");
    project = await packedProject({ ai, zod: "4.6.7", ...(node && { [newerNode]: node }) });
    copyFileSync(join(import.meta.dirname, "project", "program.ts"), join(project.directory, "program.ts"));
    const cwd = project.directory;
    await execa(process.execPath, [...compiler, "program.ts"], { cwd });
    const binary = node === undefined ? process.execPath : join(cwd, "node_modules", newerNode, "bin", "node");
    const { stdout, stderr } = await execa(binary, ["program.js", join(packageRoot, "examples", "pictures"), files], {
      cwd,
      env: { GLIMPSE_PYTHON: await resolvePython() },
    });
    expect(stderr).toBe("");
    seen = JSON.parse(stdout);
  }, 240_000);
  afterAll(() => project?.remove());

  test("generateText gives the answer, the thinking, the usage, and what else Glimpse knows", () => {
    expect(seen["generateText"]).toMatchObject({
      text: sentence,
      reasoningText: thinking,
      finishReason: "stop",
      usage: {
        inputTokens: 103,
        inputTokenDetails: { noCacheTokens: 103, cacheReadTokens: 0 },
        outputTokens: 28,
        outputTokenDetails: { textTokens: 20, reasoningTokens: 8 },
        raw: { imageTokens: 84 },
      },
      warnings: [],
      seed: 7,
      worker: { id: "worker-0", device: { kind: "cpu" } },
      answeredById: true,
      model: "embedded",
    });
  });

  test("streamText gives the thinking, then the answer", () => {
    expect(seen["streamText"]).toEqual({
      kinds: [
        "start",
        "start-step",
        ...["reasoning-start", "reasoning-delta", "reasoning-end"],
        ...["text-start", "text-delta", "text-end"],
        "finish-step",
        "finish",
      ],
      texts: { reasoning: thinking, text: sentence },
      outputTokens: 28,
      finishReason: "stop",
    });
  });

  test("pictures come as bytes, base64, data URLs and URLs, and these Glimpse fetches itself", () => {
    expect(seen["pictures"]).toEqual({
      texts: { png: sentence, base64: sentence, dataUrl: sentence, url: sentence },
      asked: [expect.stringMatching(/^glimpse\//)],
    });
  });

  test("a picture, a PDF and a video may have Glimpse's own options", () => {
    expect(seen["smallerPicture"]).toEqual({ inputTokens: expect.toSatisfy((tokens) => tokens < 103) });
    expect(seen["files"]).toEqual({ pdf: "GLIMPSE", video: "The red circle moves right." });
  });

  test("a later turn knows the picture of the first, and reuses what was computed", () => {
    expect(seen["conversation"]).toEqual({
      history: [["reasoning", "text"]],
      text: expect.stringMatching(/red/i),
      cached: expect.toSatisfy((tokens) => tokens > 84),
    });
  });

  test("objects follow their schema: Output.object and generateObject, whole and streamed", () => {
    expect(seen["output"]).toEqual(invoice);
    expect(seen["generateObject"]).toEqual({ object: invoice, finishReason: "stop" });
    const streamed = { partials: expect.toSatisfy((count) => count > 10) };
    expect(seen["streamedOutput"]).toEqual({ output: invoice, ...streamed });
    expect(seen["streamObject"]).toEqual({ object: invoice, ...streamed });
  });

  test("so do a choice, and JSON of any kind", () => {
    expect(seen["choice"]).toMatch(/^(red|blue)$/);
    expect(seen["anyJson"]).toEqual({ isJson: true });
  });

  test("an object cut short is the AI SDK's own error, with usage and reason", () => {
    expect(seen["cutOutput"]).toEqual({ name: "AI_NoObjectGeneratedError", finishReason: "length", outputTokens: 12 });
  });

  test("what has no effect is told as a warning", () => {
    const features = ["presencePenalty", "frequencyPenalty", "tools"];
    expect(seen["warnings"]).toEqual(features.map((feature) => ["unsupported", feature]));
  });

  test("an answer ends at its stop sequence, and at its last token", () => {
    expect(seen["stop"]).toEqual({ text: "A red circle, an orange star", finishReason: "stop" });
    expect(seen["length"]).toEqual({ finishReason: "length", outputTokens: 5 });
  });

  test("an abort is one, before, in the middle and by a timeout", () => {
    expect(seen["abort"]).toEqual({ last: "abort", aborted: "AbortError", inTime: "TimeoutError" });
  });

  test("what cannot be done is refused by name", () => {
    expect(seen["refusals"]).toEqual({
      option: "INVALID_REQUEST",
      ownOption: "INVALID_REQUEST",
      tool: "AI_UnsupportedFunctionalityError",
      schema: "SCHEMA_UNSUPPORTED",
      notAPicture: "IMAGE_UNREADABLE",
      audio: "AI_UnsupportedFunctionalityError",
      privateUrl: "FETCH_REFUSED",
      model: "AI_NoSuchModelError",
      embedding: "AI_NoSuchModelError",
    });
  });

  test("a full queue is tried again, as often as maxRetries says", () => {
    expect(seen["retries"]).toEqual({ finishReason: "stop", isApiCallError: true, cause: "QUEUE_FULL" });
  });

  test("a registry of providers finds the model", () => {
    expect(seen["registry"]).toBe("4");
  });

  test("reasoning: none answers at once, where ai passes it on", () => {
    const passesOn = !ai.startsWith("6.");
    expect(seen["reasoning"]).toEqual({ none: passesOn ? "" : thinking, high: thinking });
  });
});

const compiler = [
  join(packageRoot, "node_modules", "typescript", "bin", "tsc"),
  "--strict",
  "--exactOptionalPropertyTypes",
  // The declarations of `ai` itself do not hold under these settings.
  "--skipLibCheck",
  ...["--module", "nodenext", "--target", "es2022", "--lib", "es2023,esnext.disposable,dom"],
  ...["--types", "node", "--typeRoots", join(packageRoot, "node_modules", "@types")],
];
