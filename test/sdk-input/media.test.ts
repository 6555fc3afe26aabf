import { Readable } from "node:stream";
import { describe, expect, it, vi } from "vitest";
import { kindOf } from "../../sdk/media/format.ts";
import { type ImageSource, image } from "../../sdk/media/image.ts";
import { pdf } from "../../sdk/media/pdf.ts";
import { video } from "../../sdk/media/video.ts";
import { failure, png, prepare, prepareUntyped, writePicture } from "./pictures.ts";
import { serve } from "./server.ts";

const mp4 = Buffer.from("\0\0\0\x18ftypisom\0\0\0\0and so on", "latin1");
const webm = Buffer.from("\x1aE\xdf\xa3\x01and so on", "latin1");
const gif = Buffer.from("GIF89aand so on", "latin1");
const doc = Buffer.from("%PDF-1.7\nand so on", "latin1");

async function* pieces(bytes: Uint8Array, size = 7): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.byteLength; at += size) yield bytes.subarray(at, at + size);
}

const forms = (bytes: Buffer) => ({
  path: writePicture("file", bytes),
  "data URL": `data:;base64,${bytes.toString("base64")}`,
  Buffer: bytes,
  Uint8Array: new Uint8Array(bytes),
  ArrayBuffer: new Uint8Array(bytes).buffer,
  Blob: new Blob([new Uint8Array(bytes)]),
  File: new File([new Uint8Array(bytes)], "a.bin"),
  Readable: Readable.from(pieces(bytes)),
  ReadableStream: new Blob([new Uint8Array(bytes)]).stream(),
  "async iterable": pieces(bytes),
});

type Form = keyof ReturnType<typeof forms>;
const formNames = [
  "path",
  "data URL",
  "Buffer",
  "Uint8Array",
  "ArrayBuffer",
  "Blob",
  "File",
  "Readable",
  "ReadableStream",
  "async iterable",
] as const satisfies readonly Form[];

describe("the bytes of a medium", () => {
  it.each(formNames)("are taken as %s for a picture, a video and a PDF", async (form) => {
    const asImage = await prepare({ prompt: "?", images: [forms(png)[form]] });
    const asVideo = await prepare({ prompt: "?", video: forms(mp4)[form] });
    const asPdf = await prepare({ prompt: "?", pdf: forms(doc)[form] });
    expect([asImage, asVideo, asPdf].map(({ frames }) => Buffer.from(frames[0] ?? []))).toEqual([png, mp4, doc]);
    expect([asImage, asVideo, asPdf].flatMap(({ media }) => media)).toEqual([
      { kind: "image", bytes: png.byteLength },
      { kind: "videoFile", bytes: mp4.byteLength },
      { kind: "pdf", bytes: doc.byteLength, dpi: 144 },
    ]);
  });
});

describe("a video or a PDF", () => {
  it("is fetched from a URL, and asks for what it is", async () => {
    const accepted: (string | undefined)[] = [];
    const server = await serve((request, response) => {
      accepted.push(request.headers.accept);
      response.end(request.url === "/v" ? mp4 : doc);
    });
    const allowHosts = [server.host];
    expect((await prepare({ prompt: "?", video: server.url("/v") }, { allowHosts })).frames[0]).toEqual(mp4);
    expect((await prepare({ prompt: "?", pdf: new URL(server.url("/d")) }, { allowHosts })).frames[0]).toEqual(doc);
    expect(accepted).toEqual([expect.stringContaining("video/mp4"), "application/pdf, */*;q=0.1"]);
  });

  it("is taken from a message in every field that a picture is taken from", async () => {
    const path = writePicture("a.bin", mp4);
    const texts = [{ type: "text", text: "?" } as const];
    for (const item of [{ url: `file://${path}` }, { path }, { video: path }, { base64: mp4.toString("base64") }]) {
      const messages = [{ role: "user", content: [{ type: "video", ...item }, ...texts] }];
      expect((await prepareUntyped({ messages })).media).toEqual([{ kind: "videoFile", bytes: mp4.byteLength }]);
    }
    for (const item of [{ pdf: doc }, { pdf: pdf(doc) }, { base64: doc.toString("base64") }]) {
      const messages = [{ role: "user", content: [{ type: "pdf", ...item }, ...texts] }];
      expect((await prepareUntyped({ messages })).media).toEqual([{ kind: "pdf", bytes: doc.byteLength, dpi: 144 }]);
    }
  });

  it("stands where the caller has put it: pictures first, then the PDF, then the words", async () => {
    const { media, messages } = await prepare({ prompt: "Read.", images: [png], pdf: doc });
    expect(media.map(({ kind }) => kind)).toEqual(["image", "pdf"]);
    expect(messages[0]?.content.map((item) => (item.type === "media" ? item.index : item.text))).toEqual([
      0,
      1,
      "Read.",
    ]);
  });

  it.each([
    ["MP4", mp4],
    ["WebM", webm],
    ["GIF", gif],
    ["old QuickTime", Buffer.from("\0\0\x10\0moovand so on", "latin1")],
  ])("is a video by its bytes: %s", async (_name, bytes) => {
    expect((await prepare({ prompt: "?", video: video(bytes) })).media).toEqual([
      { kind: "videoFile", bytes: bytes.byteLength },
    ]);
  });

  it.each([
    ["a picture as a video", { video: png }, "VIDEO_UNREADABLE", "got a PNG picture", "Pass it as a picture"],
    ["a picture as a PDF", { pdf: png }, "PDF_UNREADABLE", "got a PNG picture", "Pass it as a picture"],
    ["a video as a picture", { images: [mp4] }, "IMAGE_UNREADABLE", "got an MP4 or QuickTime video", "video()"],
    ["a PDF as a picture", { images: [doc] }, "IMAGE_UNREADABLE", "got a PDF document", "pdf()"],
    ["an office document as a PDF", { pdf: Buffer.from("PK\x03\x04") }, "PDF_UNREADABLE", "a ZIP archive", "exported"],
    ["an AVI", { video: Buffer.from("RIFF    AVI LIST") }, "VIDEO_UNREADABLE", "got an AVI video", "Convert it"],
    ["nothing", { video: Buffer.alloc(0) }, "VIDEO_UNREADABLE", "got nothing: it is empty", "."],
    ["a playlist", { video: Buffer.from("#EXTM3U\nfile:///etc/passwd") }, "VIDEO_UNREADABLE", "got text that", "."],
  ])("is refused by name when it is something else: %s", async (_name, input, code, message, hint) => {
    expect(await failure(prepare({ prompt: "?", ...input }))).toMatchObject({
      code,
      message: expect.stringContaining(message),
      hint: expect.stringContaining(hint),
    });
  });
});

describe("the options of a medium", () => {
  const mediaOf = async (input: Parameters<typeof prepare>[0]) => (await prepare(input)).media;

  it("travel with it", async () => {
    const cap = { maxPixels: 90_000, onTooLarge: "downscale" };
    expect(await mediaOf({ prompt: "?", images: [image(png, { maxPixels: 90_000 })] })).toEqual([
      { kind: "image", bytes: png.byteLength, cap },
    ]);
    const clip = video(mp4, { fps: 0.5, maxFrames: 10, maxPixels: 90_000, onTooLarge: "refuse" });
    expect(await mediaOf({ prompt: "?", video: clip })).toEqual([
      { kind: "videoFile", bytes: mp4.byteLength, fps: 0.5, maxFrames: 10, cap: { ...cap, onTooLarge: "refuse" } },
    ]);
    const frames = video({ frames: [png, png], fps: 3 }, { maxPixels: 90_000 });
    expect(await mediaOf({ prompt: "?", video: frames })).toEqual([
      { kind: "video", bytes: [png.byteLength, png.byteLength], fps: 3, cap },
    ]);
    expect(await mediaOf({ prompt: "?", pdf: pdf(doc, { pages: "1-3, 7", dpi: 72.5, maxPixels: 90_000 }) })).toEqual([
      { kind: "pdf", bytes: doc.byteLength, dpi: 72.5, pages: [1, 2, 3, 7], cap },
    ]);
  });

  it("may be changed when it is named once more", async () => {
    const [picture, clip, document] = [image(png, { maxPixels: 9 }), video(mp4, { fps: 1 }), pdf(doc, { dpi: 72 })];
    expect(await mediaOf({ prompt: "?", images: [image(picture)] })).toEqual(
      await mediaOf({ prompt: "?", images: [picture] }),
    );
    expect(await mediaOf({ prompt: "?", video: video(clip, { maxFrames: 3 }) })).toMatchObject([
      { fps: 1, maxFrames: 3 },
    ]);
    expect(await mediaOf({ prompt: "?", pdf: pdf(document, { pages: [2] }) })).toMatchObject([{ dpi: 72, pages: [2] }]);
  });

  it.each([
    ["1", [1]],
    ["3,1", [3, 1]],
    ["2-4", [2, 3, 4]],
    [" 1 - 2 , 9", [1, 2, 9]],
    ["5–6", [5, 6]],
    [
      [7, 7],
      [7, 7],
    ],
  ])("choose pages: %j", async (pages, expected) => {
    expect(await mediaOf({ prompt: "?", pdf: pdf(doc, { pages }) })).toMatchObject([{ pages: expected }]);
  });

  const mistakes: [string, () => unknown, string][] = [
    ["no pages", () => pdf(doc, { pages: "" }), "pdf.pages: expected pages counted from 1"],
    ["page 0", () => pdf(doc, { pages: "0-2" }), "pdf.pages"],
    ["pages backwards", () => pdf(doc, { pages: "5-2" }), "pdf.pages"],
    ["an open range", () => pdf(doc, { pages: "5-" }), "pdf.pages"],
    ["half a page", () => pdf(doc, { pages: [1.5] }), "got 1.5"],
    ["a list without pages", () => pdf(doc, { pages: [] }), "got an empty array"],
    ["301 pages", () => pdf(doc, { pages: "1-301" }), "at most 300 pages, got 301"],
    ["a million pages", () => pdf(doc, { pages: "1-999999" }), "at most 300 pages"],
    ["too coarse", () => pdf(doc, { dpi: 1 }), "pdf.dpi: expected a number from 18 to 600, got 1"],
    [
      "an unknown option",
      () => pdf(doc, { page: 1 } as never),
      'pdf: expected only pages, dpi, maxPixels, onTooLarge, got "page"',
    ],
    ["a number as a PDF", () => pdf(5 as never), "source: expected a path"],
    ["no frame a second", () => video(mp4, { fps: 0 }), "video.fps: expected a number above 0 and at most 240"],
    ["half a frame", () => video(mp4, { maxFrames: 1.5 }), "video.maxFrames: expected a whole number"],
    ["frames of a list chosen", () => video({ frames: [png], fps: 1 }, { fps: 2 } as never), 'got "fps"'],
    ["a bare list", () => video([png] as never), "source: expected a video, got an array"],
    [
      "a frame with a cap",
      () => video({ frames: [image(png, { maxPixels: 9 })], fps: 1 }),
      "video.frames[0]: expected a frame without maxPixels of its own",
    ],
    ["no pixels", () => image(png, { maxPixels: 0 }), "image.maxPixels: expected a whole number of at least 1"],
    ["an unknown choice", () => image(png, { maxPixels: 9, onTooLarge: "crop" as never }), '"downscale" or "refuse"'],
    ["a choice of nothing", () => image(png, { onTooLarge: "refuse" }), "image.maxPixels: expected a number of pixels"],
  ];
  it.each(mistakes)("are refused at once: %s", (_name, make, message) => {
    expect(make).toThrow(
      expect.objectContaining({ code: "INVALID_REQUEST", message: expect.stringContaining(message) }),
    );
  });
});

describe("a stream", () => {
  it("may be named in several requests, and twice in one, though it can be read once only", async () => {
    const stream = pieces(png);
    const { frames } = await prepare({ prompt: "?", images: [stream, stream] });
    expect(frames.map((frame) => Buffer.from(frame))).toEqual([png, png]);
    expect((await prepare({ prompt: "?", images: [image(stream)] })).frames[0]).toEqual(png);
  });

  it("that breaks is reported with its error", async () => {
    const cause = new Error("the line is dead");
    async function* broken(): AsyncGenerator<Uint8Array> {
      yield png;
      throw cause;
    }
    expect(await failure(prepare({ prompt: "?", images: [broken()] }))).toMatchObject({
      code: "IMAGE_UNREADABLE",
      message: "images[0] (stream): expected a stream that can be read to its end, got Error: the line is dead",
      cause,
    });
  });

  it("of text is refused", async () => {
    const text = Readable.from(pieces(png)).setEncoding("latin1");
    expect((await failure(prepare({ prompt: "?", images: [text as unknown as ImageSource] }))).message).toContain(
      "expected a stream of bytes, got one of strings",
    );
  });

  it("without end is left at the limit, and told so", async () => {
    const left = vi.fn();
    async function* endless(): AsyncGenerator<Uint8Array> {
      try {
        for (;;) yield Buffer.alloc(16 * 1024 * 1024);
      } finally {
        left();
      }
    }
    expect(await failure(prepare({ prompt: "?", images: [endless()] }))).toMatchObject({ code: "IMAGE_TOO_LARGE" });
    expect(left).toHaveBeenCalledOnce();
  });

  it("that never comes does not hold up a signal", async () => {
    const silent: AsyncIterable<Uint8Array> = {
      [Symbol.asyncIterator]: () => ({ next: () => new Promise(() => {}) }),
    };
    const controller = new AbortController();
    const call = prepare({ prompt: "?", images: [silent] }, { signal: controller.signal });
    controller.abort();
    expect(await failure(call)).toMatchObject({ code: "ABORTED" });
  });
});

it("the bytes tell what they are", () => {
  expect([png, mp4, webm, gif, doc, Buffer.from("text")].map(kindOf)).toEqual([
    "image",
    "video",
    "video",
    "image",
    "pdf",
    undefined,
  ]);
});
