// What a program does that has `ai` and Glimpse installed. It prints what it saw, for ai-sdk.test.ts to judge; it is
// compiled and run in a project for each version of `ai`.
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import {
  APICallError,
  createProviderRegistry,
  type FilePart,
  generateObject,
  generateText,
  NoObjectGeneratedError,
  Output,
  streamObject,
  streamText,
} from "ai";
import { GlimpseError, launch } from "glimpse";
import { createGlimpse, type GlimpseProviderOptions } from "glimpse/ai-sdk";
import { z } from "zod";

/** The directory of the examples' pictures, and that of a video and a PDF. */
const [pictures = "", files = ""] = process.argv.slice(2);
const picture = (name: string): Buffer => readFileSync(`${pictures}/${name}`);
const file = (name: string): Buffer => readFileSync(`${files}/${name}`);
globalThis.AI_SDK_LOG_WARNINGS = false;

const asked: (string | undefined)[] = [];
const server = createServer((request, response) => {
  asked.push(request.headers["user-agent"]);
  response.setHeader("content-type", "image/png").end(picture("shapes.png"));
});
await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
const host = `127.0.0.1:${(server.address() as AddressInfo).port}`;

await using glm = await launch({ allowHosts: [host] });
const glimpse = createGlimpse(glm);
const model = glimpse();

const noThinking = { glimpse: { maxThinkingTokens: 0 } satisfies GlimpseProviderOptions };
const caption = "Describe this image in one sentence.";
const about = (image: string | Buffer | URL) => [
  {
    role: "user" as const,
    content: [
      { type: "image" as const, image },
      { type: "text" as const, text: caption },
    ],
  },
];
const price = z.number().nonnegative().multipleOf(0.01);
const invoice = z.object({
  shop: z.string().max(40),
  items: z
    .array(z.object({ name: z.string().max(30), price }))
    .min(1)
    .max(20),
  total: price,
});
const receipt = {
  model,
  messages: [
    {
      role: "user" as const,
      content: [
        { type: "file" as const, mediaType: "image/png", data: picture("invoice.png") },
        { type: "text" as const, text: "Read this receipt. Answer as JSON." },
      ],
    },
  ],
  temperature: 0,
  providerOptions: noThinking,
};

/** The code of a GlimpseError, or the name of another error, wherever it is. */
const named = (error: unknown): string =>
  GlimpseError.is(error) ? error.code : error instanceof Error ? error.name : `no error: ${String(error)}`;
const failure = async (work: PromiseLike<unknown>): Promise<string> =>
  named(await Promise.resolve(work).catch((error) => error));

const scenarios: Record<string, () => Promise<unknown>> = {
  async generateText() {
    const result = await generateText({ model, messages: about(picture("shapes.png")), temperature: 0, seed: 7 });
    const { text, reasoningText, finishReason, usage, warnings, providerMetadata, response } = result;
    const { requestId, seed, worker } = providerMetadata?.["glimpse"] ?? {};
    const answeredById = response.id === requestId;
    return { text, reasoningText, finishReason, usage, warnings, seed, worker, answeredById, model: response.modelId };
  },

  async streamText() {
    const { fullStream, usage, finishReason } = streamText({
      model,
      messages: about(picture("shapes.png")),
      temperature: 0,
    });
    const kinds: string[] = [];
    const texts = { reasoning: "", text: "" };
    for await (const part of fullStream) {
      if (kinds.at(-1) !== part.type) kinds.push(part.type);
      if (part.type === "reasoning-delta") texts.reasoning += part.text;
      if (part.type === "text-delta") texts.text += part.text;
    }
    return { kinds, texts, outputTokens: (await usage).outputTokens, finishReason: await finishReason };
  },

  async pictures() {
    const png = picture("shapes.png");
    const base64 = png.toString("base64");
    const sources = {
      png,
      base64,
      dataUrl: `data:image/png;base64,${base64}`,
      url: new URL(`http://${host}/shapes.png`),
    };
    const texts: Record<string, string> = {};
    for (const [name, source] of Object.entries(sources)) {
      const result = await generateText({
        model,
        messages: about(source),
        temperature: 0,
        providerOptions: noThinking,
      });
      texts[name] = result.text;
    }
    return { texts, asked };
  },

  async smallerPicture() {
    const [message] = about(picture("shapes.png"));
    const capped = message?.content.map((part) =>
      part.type === "image" ? { ...part, providerOptions: { glimpse: { maxPixels: 40_000 } } } : part,
    );
    const { usage } = await generateText({
      model,
      messages: [{ role: "user", content: capped ?? [] }],
      temperature: 0,
    });
    return { inputTokens: usage.inputTokens };
  },

  async files() {
    const answer = async (part: FilePart, text: string): Promise<string> => {
      const messages = [{ role: "user" as const, content: [part, { type: "text" as const, text }] }];
      return (await generateText({ model, messages, temperature: 0, providerOptions: noThinking })).text;
    };
    const page = { glimpse: { pages: [2], dpi: 72 } };
    return {
      video: await answer(
        { type: "file", mediaType: "video/mp4", data: file("moving.mp4") },
        "What happens in this video?",
      ),
      pdf: await answer(
        { type: "file", mediaType: "application/pdf", data: file("pages.pdf"), providerOptions: page },
        "Read the text in this image.",
      ),
    };
  },

  async conversation() {
    const first = about(picture("shapes.png"));
    const answer = await generateText({ model, messages: first, temperature: 0 });
    const second = await generateText({
      model,
      messages: [...first, ...answer.response.messages, { role: "user", content: "What colour is the circle?" }],
      temperature: 0,
    });
    const history = answer.response.messages.map(({ content }) =>
      typeof content === "string" ? [content] : content.map(({ type }) => type),
    );
    return { history, text: second.text, cached: second.usage.inputTokenDetails.cacheReadTokens };
  },

  async output() {
    const result = await generateText({ ...receipt, output: Output.object({ schema: invoice }) });
    return result.output;
  },

  async streamedOutput() {
    const { partialOutputStream, output } = streamText({ ...receipt, output: Output.object({ schema: invoice }) });
    let partials = 0;
    for await (const _ of partialOutputStream) partials += 1;
    return { output: await output, partials };
  },

  async generateObject() {
    const { object, finishReason } = await generateObject({ ...receipt, schema: invoice });
    return { object, finishReason };
  },

  async streamObject() {
    const { partialObjectStream, object } = streamObject({ ...receipt, schema: invoice });
    let partials = 0;
    for await (const _ of partialObjectStream) partials += 1;
    return { object: await object, partials };
  },

  async choice() {
    const color = Output.choice({ options: ["red", "blue"] });
    return (await generateText({ model, prompt: "What is 2 + 2?", output: color, temperature: 0 })).output;
  },

  async anyJson() {
    const { output } = await generateText({
      model,
      prompt: "What is 2 + 2?",
      output: Output.json(),
      temperature: 0,
      maxOutputTokens: 200,
    });
    return { isJson: JSON.stringify(output) !== undefined };
  },

  async cutOutput() {
    const work = generateText({ ...receipt, output: Output.object({ schema: invoice }), maxOutputTokens: 12 });
    const error: unknown = await work.then(
      ({ output }) => output,
      (error: unknown) => error,
    );
    if (!NoObjectGeneratedError.isInstance(error)) return named(error);
    const { finishReason, usage } = error;
    return { name: error.name, finishReason, outputTokens: usage?.outputTokens };
  },

  async warnings() {
    const { warnings } = await generateText({
      model,
      prompt: "What is 2 + 2?",
      presencePenalty: 1,
      frequencyPenalty: 1,
      tools: { clock: { inputSchema: z.object({}), description: "tells the time" } },
    });
    return warnings?.map((warning) => ("feature" in warning ? [warning.type, warning.feature] : warning));
  },

  async stop() {
    const { text, finishReason } = await generateText({
      model,
      messages: about(picture("shapes.png")),
      temperature: 0,
      stopSequences: [" and"],
    });
    return { text, finishReason };
  },

  async length() {
    const { finishReason, usage } = await generateText({ model, prompt: "Count from 1 to 100.", maxOutputTokens: 5 });
    return { finishReason, outputTokens: usage.outputTokens };
  },

  async abort() {
    // Longer than a Node that gets no processor could sleep through.
    const digits = z.array(z.int().min(0).max(9)).length(500);
    const long = { model, prompt: "Count.", output: Output.object({ schema: z.object({ digits }) }) };
    const controller = new AbortController();
    const { fullStream } = streamText({ ...long, abortSignal: controller.signal });
    const kinds = new Set<string>();
    for await (const { type } of fullStream) {
      kinds.add(type);
      if (type === "text-delta") controller.abort();
    }
    const aborted = await failure(generateText({ ...long, abortSignal: AbortSignal.abort() }));
    const inTime = await failure(generateText({ ...long, abortSignal: AbortSignal.timeout(50) }));
    return { last: [...kinds].at(-1), aborted, inTime };
  },

  async refusals() {
    const ask = (input: object) =>
      failure(generateText({ model, prompt: "What is 2 + 2?", ...input } as Parameters<typeof generateText>[0]));
    const attach = (mediaType: string, data: unknown) =>
      failure(
        generateText({
          model,
          messages: [
            {
              role: "user",
              content: [
                { type: "file", mediaType, data: data as Buffer },
                { type: "text", text: "?" },
              ],
            },
          ],
        }),
      );
    return {
      option: await ask({ temperature: 1000 }),
      ownOption: await ask({ providerOptions: { glimpse: { budget: 1 } } }),
      tool: await ask({ tools: { clock: { inputSchema: z.object({}) } }, toolChoice: "required" }),
      schema: await failure(
        generateText({
          model,
          prompt: "?",
          output: Output.object({ schema: z.object({ at: z.string().regex(/(?=a)/) }) }),
        }),
      ),
      notAPicture: await attach("image/png", Buffer.from("no picture")),
      audio: await attach("audio/wav", Buffer.from("RIFF")),
      privateUrl: await failure(
        generateText({ model, messages: about(new URL("http://127.0.0.1:1/a.png")), maxRetries: 0 }),
      ),
      model: await failure(Promise.resolve().then(() => glimpse("gpt-5"))),
      embedding: await failure(Promise.resolve().then(() => glimpse.embeddingModel("any"))),
    };
  },

  async retries() {
    let tries = 0;
    const flaky = createGlimpse({
      workers: () => glm.workers(),
      stream: glm.stream.bind(glm),
      generate: (async (input: Parameters<typeof glm.generate>[0]) => {
        tries += 1;
        if (tries < 3) throw new GlimpseError("QUEUE_FULL", "full", { retryAfterMs: 1 });
        return glm.generate(input);
      }) as typeof glm.generate,
    });
    const { finishReason } = await generateText({ model: flaky(), prompt: "What is 2 + 2?", maxRetries: 2 });
    tries = 0;
    const once = await generateText({ model: flaky(), prompt: "?", maxRetries: 0 }).catch((error: unknown) => error);
    return { finishReason, isApiCallError: APICallError.isInstance(once), cause: named((once as Error).cause) };
  },

  async registry() {
    const registry = createProviderRegistry({ glimpse }, { separator: " > " });
    const registered = registry.languageModel(`glimpse > ${model.modelId}`);
    return (await generateText({ model: registered, prompt: "What is 2 + 2?", temperature: 0 })).text;
  },

  /** An option of `ai` 7, which passes it on; `ai` 6 has none. */
  async reasoning() {
    const ask = async (reasoning: "none" | "high") => {
      const options = { model, messages: about(picture("shapes.png")), temperature: 0, reasoning };
      return (await generateText(options)).reasoningText ?? "";
    };
    return { none: await ask("none"), high: await ask("high") };
  },
};

const seen: Record<string, unknown> = {};
for (const [name, scenario] of Object.entries(scenarios)) {
  seen[name] = await scenario().catch((error: unknown) => ({ failed: error instanceof Error ? error.stack : error }));
}
server.close();
console.log(JSON.stringify(seen));
