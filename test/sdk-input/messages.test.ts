import { describe, expect, it } from "vitest";
import { generateSchema } from "../../protocol/messages.ts";
import { image } from "../../sdk/media/image.ts";
import { video } from "../../sdk/media/video.ts";
import type { GenerateInput, Message } from "../../sdk/request/input.ts";
import { failure, pngLike, prepare, prepareUntyped, writePicture } from "./pictures.ts";

const [red, green, blue] = ["red", "green", "blue"].map(pngLike) as [Buffer, Buffer, Buffer];
const base64 = red.toString("base64");
const clip = video({ frames: [red, green], fps: 2 });
const text = { type: "text", text: "describe this image" } as const;

function deepFreeze<Value>(value: Value): Value {
  if (typeof value === "object" && value !== null && !ArrayBuffer.isView(value)) {
    Object.values(value).forEach(deepFreeze);
    Object.freeze(value);
  }
  return value;
}

describe("a conversation on its way to the worker", () => {
  it("is the model card's, unchanged", async () => {
    const url = `data:image/png;base64,${base64}`;
    const prepared = await prepare({ messages: [{ role: "user", content: [{ type: "image", url }, text] }] });
    expect(prepared.messages).toEqual([{ role: "user", content: [{ type: "media", index: 0 }, text] }]);
    expect(prepared.frames).toEqual([red]);
  });

  it("has all of its parts in order, and is a message of the protocol", async () => {
    const messages: Message[] = [
      { role: "system", content: "Be brief." },
      { role: "user", content: [{ type: "image", image: image(blue) }, text, { type: "image", base64 }] },
      { role: "assistant", content: "" },
      {
        role: "user",
        content: [
          { type: "text", text: "" },
          { type: "image", path: writePicture("g.png", green) },
        ],
      },
    ];
    const prepared = await prepare({ messages });
    expect(prepared.messages).toEqual([
      { role: "system", content: [{ type: "text", text: "Be brief." }] },
      { role: "user", content: [{ type: "media", index: 0 }, text, { type: "media", index: 1 }] },
      { role: "assistant", content: [{ type: "text", text: "" }] },
      {
        role: "user",
        content: [
          { type: "text", text: "" },
          { type: "media", index: 2 },
        ],
      },
    ]);
    expect(prepared.frames).toEqual([blue, red, green]);
    const { messages: sent, media, options } = prepared;
    generateSchema.parse({ type: "generate", request: "r", attempt: 0, messages: sent, media, options });
  });

  it("has the pictures of the shorthand before its text, and the system message before both", async () => {
    const { messages, frames } = await prepare({ prompt: "Compare.", images: [red, green], system: "Be brief." });
    expect(messages).toEqual([
      { role: "system", content: [{ type: "text", text: "Be brief." }] },
      {
        role: "user",
        content: [
          { type: "media", index: 0 },
          { type: "media", index: 1 },
          { type: "text", text: "Compare." },
        ],
      },
    ]);
    expect(frames).toEqual([red, green]);
  });

  it("has one medium for a video, with a frame for each picture of it", async () => {
    const content = [{ type: "video", video: clip } as const, text];
    for (const input of [{ prompt: "?", video: clip }, { messages: [{ role: "user", content }] }] as GenerateInput[]) {
      const { media, frames, labels } = await prepare(input);
      expect(media).toEqual([{ kind: "video", bytes: [red.byteLength, green.byteLength], fps: 2 }]);
      expect(frames).toEqual([red, green]);
      expect(labels).toEqual([expect.stringMatching(/^(video|messages\[0\]\.content\[0\]) \(video, 2 frames\)$/)]);
    }
  });

  it("calls each picture by what its user knows it by", async () => {
    const path = writePicture("photo.png", red);
    const images = [path, red, new Uint8Array(3000).fill(1), new Blob([red]), image({ base64 }), image(green)];
    images[2] = Buffer.concat([red, Buffer.alloc(3000)]);
    const { labels } = await prepare({ prompt: "?", images });
    expect(labels).toEqual([
      path,
      "images[1] (Buffer, 11 bytes)",
      "images[2] (Buffer, 2.9 KiB)",
      "images[3] (Blob, 11 bytes)",
      "images[4] (base64, 16 bytes)",
      "images[5] (Buffer, 13 bytes)",
    ]);
  });

  it("leaves the caller's objects alone, frozen ones too", async () => {
    const messages: Message[] = [{ role: "user", content: [{ type: "image", image: new Uint8Array(red) }, text] }];
    const before = structuredClone(messages);
    await prepare(deepFreeze({ messages, stop: ["a"] }));
    expect(messages).toEqual(before);
  });
});

const user = (content: unknown) => ({ messages: [{ role: "user", content }] });
const mistakes: [name: string, input: unknown, message: string][] = [
  ["no input", undefined, "input: expected an object with messages or prompt, got nothing"],
  ["a bare text", "describe", 'input: expected an object with messages or prompt, got "describe"'],
  ["bare messages", [], "input: expected an object with messages or prompt, got an empty array"],
  ["neither form", { images: [red] }, "input: expected messages or prompt, got nothing"],
  ["both forms", { ...user("?"), prompt: "?" }, "input: expected messages or prompt, got messages and prompt"],
  [
    "pictures beside messages",
    { ...user("?"), images: [red] },
    "input: expected messages or prompt, got messages and images",
  ],
  ["an empty prompt", { prompt: "", images: [red] }, 'prompt: expected a text that is not empty, got ""'],
  ["a blank prompt", { prompt: " \n" }, 'prompt: expected a text that is not empty, got " \\n"'],
  ["a prompt that is no text", { prompt: ["?"] }, "prompt: expected a text, got an array"],
  ["an empty system message", { prompt: "?", system: "" }, 'system: expected a text that is not empty, got ""'],
  [
    "one picture without a list",
    { prompt: "?", images: "a.png" },
    'images: expected an array of pictures, got "a.png"',
  ],
  ["a picture that is none", { prompt: "?", images: [red, null] }, "images[1]: expected a path, a URL"],
  [
    "frames that are not wrapped",
    { prompt: "?", video: { frames: [red], fps: 2 } },
    "video: expected what video({ frames, fps }) returned, got an object",
  ],
  ["no message", { messages: [] }, "messages: expected an array of messages, got an empty array"],
  ["a message that is a text", { messages: ["?"] }, 'messages[0]: expected { role, content }, got "?"'],
  [
    "a role that is none",
    { messages: [{ role: "tool", content: "?" }] },
    'messages[0].role: expected "system", "user" or "assistant", got "tool"',
  ],
  [
    "a field of another library",
    { messages: [{ role: "user", content: "?", name: "Jo" }] },
    'messages[0]: expected only role, content, got "name"',
  ],
  ["an empty content", user([]), "messages[0].content: expected a text or an array, got an empty array"],
  ["no content", user(undefined), "messages[0].content: expected a text or an array, got nothing"],
  ["an empty text", user(""), 'messages[0].content: expected a text that is not empty, got ""'],
  ["only blank texts", user([{ type: "text", text: " " }]), "messages[0].content: expected a text that is not empty"],
  ["a text without text", user([{ type: "text" }]), "messages[0].content[0].text: expected a text, got nothing"],
  [
    "OpenAI's picture",
    user([{ type: "image_url", image_url: { url: "x" } }]),
    'messages[0].content[0].type: expected "text", "image", "pdf" or "video", got "image_url"',
  ],
  [
    "OpenAI's detail",
    user([{ type: "image", url: "x", detail: "low" }]),
    'messages[0].content[0]: expected only type, url, image, path, base64, got "detail"',
  ],
  [
    "a picture without source",
    user([{ type: "image" }]),
    "messages[0].content[0]: expected one of url, image, path, base64, got none of them",
  ],
  [
    "a picture with two",
    user([{ type: "image", url: "x", path: "y" }]),
    "messages[0].content[0]: expected one of url, image, path, base64, got url and path",
  ],
  ["bytes as a URL", user([{ type: "image", url: red }]), "messages[0].content[0].url: expected a URL, got a Buffer"],
  [
    "a URL as a path",
    user([{ type: "image", path: new URL("file:///a") }]),
    "messages[0].content[0].path: expected a path, got a URL",
  ],
  [
    "a path that would go to the network",
    user([{ type: "image", path: "http://user:hunter2@127.0.0.1:9/x.png" }]),
    "messages[0].content[0].path: expected a path, got a text that begins with http://",
  ],
  ["an empty path", user([{ type: "image", path: "" }]), 'messages[0].content[0].path: expected a path, got ""'],
  [
    "one URL without a list",
    { prompt: "?", images: "https://user:hunter2@host/a.png" },
    "images: expected an array of pictures, got a text that begins with https://",
  ],
  [
    "a content that is a text",
    user(["?"]),
    'messages[0].content[0]: expected { type: "text" | "image" | "pdf" | "video", … }, got "?"',
  ],
  [
    "no question",
    {
      messages: [
        { role: "user", content: "?" },
        { role: "assistant", content: "!" },
      ],
    },
    'messages[1].role: expected "user" in the last message, got "assistant"',
  ],
  [
    "only a system message",
    { messages: [{ role: "system", content: "?" }] },
    'messages[0].role: expected "user" in the last message, got "system"',
  ],
  [
    "a picture of the system",
    { messages: [{ role: "system", content: [{ type: "image", image: red }] }] },
    'messages[0].content[0].type: expected "text" in a message of the system, got "image"',
  ],
  [
    "301 pictures",
    { prompt: "?", images: Array(301).fill("no/such.png") },
    "input: expected at most 300 pictures, got 301",
  ],
  [
    "two videos",
    user([
      { type: "video", video: clip },
      { type: "video", video: clip },
    ]),
    "input: expected one video, got 2",
  ],
];

describe("an input that nobody could answer is refused before anything is read", () => {
  it.each(mistakes)("%s", async (_name, input, message) => {
    const error = await failure(prepareUntyped(input));
    expect(error).toMatchObject({ code: "INVALID_REQUEST", message: expect.stringContaining(message) });
    expect(error.message).not.toContain("hunter2");
  });

  it.each([
    [{ role: "user", content: [{ type: "image_url", image_url: { url: "a.png" } }] }, 'Write { type: "image", url }.'],
    [{ role: "user", content: [{ type: "input_image", image_url: "a.png" }] }, 'Write { type: "image", url }.'],
    [{ role: "user", content: [{ type: "input_text", text: "?" }] }, 'Write { type: "text", text }.'],
    [{ role: "developer", content: "Be brief." }, 'Write role: "system".'],
  ])("a message as OpenAI's clients write it, with what to write: %j", async (message, hint) => {
    const error = await failure(prepareUntyped({ messages: [message, { role: "user", content: "?" }] }));
    expect(error).toMatchObject({ code: "INVALID_REQUEST", hint });
  });

  it.each([
    ["base64 that is not named", { base64: "aGVsbG8=" }, /image\(\{ base64 \}\)/],
    ["a promise", Promise.resolve(red), /^Await it first/],
    ["a response", new Response("x"), /^Pass its body/],
  ])("%s in the place of a picture, with how to pass it", async (_name, picture, hint) => {
    const error = await failure(prepareUntyped({ prompt: "?", images: [picture] }));
    expect(error).toMatchObject({
      message: expect.stringMatching(/^images\[0\]: /),
      hint: expect.stringMatching(hint),
    });
  });

  it("pictures beside a video", async () => {
    const error = await failure(prepare({ prompt: "?", images: ["no/such.png"], video: clip }));
    expect(error).toMatchObject({
      code: "MEDIA_MIX_UNSUPPORTED",
      message: "input: expected pictures and PDFs, or one video, got a video and pictures",
      hint: expect.stringContaining("separate requests"),
    });
  });

  it("a PDF beside a video", async () => {
    const error = await failure(prepare({ prompt: "?", pdf: "no/such.pdf", video: "no/such.mp4" }));
    expect(error).toMatchObject({ code: "MEDIA_MIX_UNSUPPORTED", message: expect.stringContaining("and a PDF") });
  });

  it("but 300 pictures can be asked about", async () => {
    const { frames } = await prepare({
      prompt: "?",
      images: Array.from({ length: 300 }, (_, index) => pngLike(`${index}`)),
    });
    expect(frames.at(-1)).toEqual(pngLike("299"));
  });
});
