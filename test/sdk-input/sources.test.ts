import { execFileSync } from "node:child_process";
import { chmodSync, mkdirSync, openAsBlob, truncateSync, writeFileSync } from "node:fs";
import { join, relative } from "node:path";
import { pathToFileURL } from "node:url";
import { inspect } from "node:util";
import { describe, expect, it, vi } from "vitest";
import { MAX_MEDIA_BYTES } from "../../protocol/codec.ts";
import { type ImageSource, image } from "../../sdk/media/image.ts";
import { video } from "../../sdk/media/video.ts";
import { failure, png, prepare, prepareUntyped, temporaryDirectory, writePicture } from "./pictures.ts";

const dataUrl = `data:image/png;base64,${png.toString("base64")}`;
const percentEncoded = `data:,${[...png].map((byte) => `%${byte.toString(16).padStart(2, "0")}`).join("")}`;

const kinds: Record<string, () => ImageSource | Promise<ImageSource>> = {
  "an absolute path": () => writePicture("a.png"),
  "a relative path": () => relative(process.cwd(), writePicture("a.png")),
  "a path with an odd name": () => writePicture("data: 100% #1 ü?.png"),
  "a file URL": () => pathToFileURL(writePicture("ü #.png")),
  "a file URL as a string": () => pathToFileURL(writePicture("a.png")).href,
  "a Buffer": () => png,
  "a Uint8Array inside a larger buffer": () => new Uint8Array(Buffer.concat([Buffer.alloc(5), png])).subarray(5),
  "an ArrayBuffer": () => new Uint8Array(png).buffer,
  "a Blob": () => new Blob([png]),
  "a Blob of a file": () => openAsBlob(writePicture("a.png")),
  "a data URL": () => dataUrl,
  "a data URL as a URL": () => new URL(dataUrl),
  "a data URL with percent-encoded base64": () => dataUrl.replaceAll("+", "%2B").replaceAll("=", "%3d"),
  "a percent-encoded data URL": () => percentEncoded,
  "image() of bytes": () => image(png),
  "image() of image()": () => image(image(writePicture("a.png"))),
  "image() of base64": () => image({ base64: png.toString("base64") }),
  "image() of base64 in lines, without padding": () =>
    image({ base64: png.toString("base64").replace(/=+$/, "").replace(/.{20}/g, "$&\r\n") }),
  "image() of a data URL where base64 is expected": () => image({ base64: dataUrl }),
};

describe("every kind of source gives the bytes of the picture", () => {
  it.each(Object.entries(kinds))("%s", async (_name, source) => {
    const { frames, media } = await prepare({ prompt: "?", images: [await source()] });
    expect(Buffer.from(frames[0] ?? []).equals(png)).toBe(true);
    expect(media).toEqual([{ kind: "image", bytes: png.byteLength }]);
  });
});

describe("image() and video()", () => {
  it("read nothing before a request needs it, and find the file where the program was when they were called", async () => {
    const directory = temporaryDirectory();
    const reference = image(join(directory, "later.png"));
    writeFileSync(join(directory, "later.png"), png);
    expect((await prepare({ prompt: "?", images: [reference] })).frames).toHaveLength(1);
  });

  it("keep the bytes they were given, whatever the caller does with them", async () => {
    const bytes = Buffer.from(png);
    const [reference, clip] = [image(bytes), video({ frames: [bytes], fps: 1 })];
    bytes.fill(0);
    expect((await prepare({ prompt: "?", images: [reference] })).frames[0]).toEqual(png);
    expect((await prepare({ prompt: "?", video: clip })).frames[0]).toEqual(png);
  });

  it("return frozen values", () => {
    expect([image(png), video({ frames: [png], fps: 2 })].every(Object.isFrozen)).toBe(true);
  });

  const mistakes: [string, () => unknown, string][] = [
    [
      "a number",
      () => image(42 as never),
      "source: expected a path, a URL, a data URL, a Buffer, Uint8Array, ArrayBuffer, Blob or stream of bytes, got 42",
    ],
    ["a promise", () => image(Promise.resolve(png) as never), "got a Promise"],
    ["pixels", () => image(new Uint8ClampedArray(4) as never), "got a Uint8ClampedArray"],
    ["nothing", () => image("" as never), 'got ""'],
    ["base64 that is bytes", () => image({ base64: png as never }), "base64: expected a base64 string, got a Buffer"],
    [
      "no frames",
      () => video({ frames: [], fps: 1 }),
      "video.frames: expected an array of pictures, got an empty array",
    ],
    [
      "no speed",
      () => video({ frames: [png] } as never),
      "video.fps: expected a number above 0 (frames a second), got nothing",
    ],
    ["a standing video", () => video({ frames: [png], fps: 0 }), "got 0"],
    ["a wrong frame", () => video({ frames: [png, null as never], fps: 1 }), "video.frames[1]: expected a path"],
    [
      "a wrong name",
      () => video({ frames: [png], framerate: 1 } as never),
      'video: expected only frames, fps, got "framerate"',
    ],
    [
      "a URL that is none",
      () => image("http://"),
      "source: expected a URL that can be parsed, got another text of http:",
    ],
    ["a file URL of another machine", () => image("file://server/a.png"), "expected a file URL with an absolute path"],
  ];
  it.each(mistakes)("refuse %s at once", (_name, make, message) => {
    expect(make).toThrow(
      expect.objectContaining({ code: "INVALID_REQUEST", message: expect.stringContaining(message) }),
    );
  });

  it.each([
    ["a URL that cannot be parsed", "http://user:hunter2@[bad/x"],
    ["a scheme that is not fetched", "ftp://user:hunter2@host/x?token=s3cret"],
    ["a file URL of another machine", "file://user:hunter2@host/x?token=s3cret"],
    ["a file URL that cannot be parsed", "file://user:hunter2@[bad/x"],
  ])("refuse %s without repeating the secrets in it", (_name, url) => {
    const refused = (): unknown => image(url);
    expect(refused).toThrow(expect.objectContaining({ name: "GlimpseError" }));
    try {
      refused();
    } catch (error) {
      expect(inspect(error)).not.toMatch(/hunter2|s3cret/);
    }
  });

  it.each(["ftp://host/a.png", "s3://bucket/a.png", "blob:nodedata:1", "javascript://x"])("do not go to %s", (url) => {
    expect(() => image(url)).toThrow(expect.objectContaining({ code: "FETCH_REFUSED" }));
  });
});

describe("files that are no pictures", () => {
  it("names the absolute path of a file that is not there, and where relative paths start", async () => {
    const error = await failure(prepare({ prompt: "?", images: ["no/such.png"] }));
    expect(error).toMatchObject({
      code: "FILE_NOT_FOUND",
      message: `${process.cwd()}/no/such.png: expected a file that can be read; there is no such file`,
      hint: `Relative paths start at ${process.cwd()}.`,
    });
  });

  it("tells a program that uses ~ what it means", async () => {
    expect((await failure(prepare({ prompt: "?", images: ["~/a.png"] }))).hint).toContain("os.homedir()");
  });

  it("tells a program that passes bare base64 how to pass it, without repeating all of it", async () => {
    const error = await failure(prepare({ prompt: "?", images: [png.toString("base64").repeat(50)] }));
    expect(error).toMatchObject({ code: "FILE_NOT_FOUND", hint: "If this is base64, pass image({ base64 })." });
    expect(error.message.length).toBeLessThan(500);
  });

  it("refuses a path with a NUL in it", async () => {
    expect(await failure(prepare({ prompt: "?", images: ["a\0.png"] }))).toMatchObject({ code: "FILE_NOT_FOUND" });
  });

  it("refuses a directory, a path through a file, a FIFO that nobody writes to, and a device", async () => {
    const directory = temporaryDirectory();
    const fifo = join(directory, "fifo");
    execFileSync("mkfifo", [fifo]);
    mkdirSync(join(directory, "folder.png"));
    const got = async (path: string) =>
      (await failure(prepare({ prompt: "?", images: [path] }))).message.split("; ")[1];
    expect(await got(join(directory, "folder.png"))).toBe("it is a directory");
    expect(await got(join(writePicture("a.png"), "b.png"))).toBe("there is no such file");
    expect(await got(fifo)).toBe("it is a pipe, socket or device");
    expect(await got("/dev/zero")).toBe("it is a pipe, socket or device");
  });

  // Root may read every file, whatever its mode.
  it.skipIf(process.getuid?.() === 0)("says that it may not read a file", async () => {
    const path = writePicture("secret.png");
    chmodSync(path, 0);
    expect((await failure(prepare({ prompt: "?", images: [path] }))).message).toContain("no permission");
  });

  it("refuses a file above the limit before reading it", async () => {
    const path = writePicture("large.png");
    truncateSync(path, MAX_MEDIA_BYTES + 1024 * 1024);
    expect(await failure(prepare({ prompt: "?", images: [path] }))).toMatchObject({
      code: "IMAGE_TOO_LARGE",
      message: `${path}: expected at most 64 MiB of encoded picture, got 65 MiB`,
    });
  });

  it("takes a picture of exactly the limit", async () => {
    const path = writePicture("large.png");
    truncateSync(path, MAX_MEDIA_BYTES);
    expect((await prepare({ prompt: "?", images: [path] })).media).toEqual([{ kind: "image", bytes: MAX_MEDIA_BYTES }]);
  });

  it("refuses bytes, Blobs and base64 above the limit", async () => {
    const bytes = Buffer.alloc(MAX_MEDIA_BYTES + 1, png);
    for (const source of [bytes, new Blob([bytes]), image({ base64: bytes.toString("base64") })]) {
      expect(await failure(prepare({ prompt: "?", images: [source] }))).toMatchObject({ code: "IMAGE_TOO_LARGE" });
    }
  });

  it("does not read a Blob above the limit", async () => {
    const blob = new Blob([Buffer.alloc(MAX_MEDIA_BYTES + 1, png)]);
    const read = vi.spyOn(blob, "arrayBuffer");
    expect(await failure(prepare({ prompt: "?", images: [blob] }))).toMatchObject({ code: "IMAGE_TOO_LARGE" });
    expect(read).not.toHaveBeenCalled();
  });

  it("reads files whose size the system does not tell", async () => {
    const error = await failure(prepare({ prompt: "?", images: ["/proc/self/status"] }));
    expect(error.message).toContain('got text that begins with "Name:');
  });

  it("stops at the limit where the system does not tell the size", async () => {
    const error = await failure(prepare({ prompt: "?", images: ["/proc/self/pagemap"] }));
    expect(error).toMatchObject({ code: "IMAGE_TOO_LARGE", message: expect.stringMatching(/picture, got more$/) });
  });

  it("says that the system failed to read a file", async () => {
    const error = await failure(prepare({ prompt: "?", images: ["/proc/self/mem"] }));
    expect(error).toMatchObject({ code: "FILE_NOT_FOUND", message: expect.stringContaining("the system says EIO") });
  });

  it("says that a Blob's file has changed", async () => {
    const path = writePicture("a.png");
    const blob = await openAsBlob(path);
    writeFileSync(path, "another length");
    expect(await failure(prepare({ prompt: "?", images: [blob] }))).toMatchObject({ code: "IMAGE_UNREADABLE" });
  });
});

describe("the type is told by the bytes", () => {
  const box = (brand: string) => `\0\0\0\x18ftyp${brand}\0\0\0\0`;
  const readable = { JPEG: "\xff\xd8\xff\xe0", WebP: "RIFF\x10\0\0\0WEBPVP8 ", GIF: "GIF89a" };
  it.each(Object.entries(readable))("%s is taken under any name", async (_name, head) => {
    const path = writePicture("picture.txt", Buffer.from(head, "latin1"));
    expect((await prepare({ prompt: "?", images: [path] })).frames).toHaveLength(1);
  });

  const strangers: [what: string, head: string][] = [
    ['text that begins with "hello, I am no picture a"', "hello, I am no picture at all"],
    ["nothing: it is empty", ""],
    ["bytes that begin with 0001020304050607", "\0\x01\x02\x03\x04\x05\x06\x07\x08"],
    ["a PDF document", "%PDF-1.7"],
    ["a HEIC picture", box("heic")],
    ["an AVIF picture", box("avif")],
    ["an MP4 or QuickTime video", box("isom")],
    ["a Matroska or WebM video", "\x1aE\xdf\xa3\x01"],
    ["a JPEG XL picture", "\xff\n\xfa"],
    ["a JPEG 2000 picture", "\xffO\xffQ"],
    ["an SVG drawing", '<svg xmlns="http://www.w3.org/2000/svg">'],
    ["an SVG drawing", '<?xml version="1.0"?>\n<!-- by hand -->\n<svg>'],
    ["an HTML page", "\n<!DOCTYPE html><html>"],
    ["a BMP picture", "BM\x46\0\0\0\0\0\0\0"],
    ["a TIFF picture", "II*\0\x08\0\0\0"],
    ["a TIFF picture", "MM\0*\0\0\0\x08"],
    ["an icon (ICO)", "\0\0\x01\0\x01\0"],
    ["a Photoshop document", "8BPS\0\x01"],
    ["a ZIP archive", "PK\x03\x04"],
    ["gzip data", "\x1f\x8b\x08"],
    ["a Git LFS pointer", "version https://git-lfs.github.com/spec/v1\noid"],
    ["base64 text", png.toString("base64")],
  ];
  it.each(strangers)("%s is refused by name, with a hint", async (what, head) => {
    const path = writePicture("picture.png", Buffer.from(head, "latin1"));
    expect(await failure(prepare({ prompt: "?", images: [path] }))).toMatchObject({
      code: "IMAGE_UNREADABLE",
      message: `${path}: expected the bytes of a PNG, JPEG, WebP or GIF, got ${what}`,
      hint: expect.stringMatching(/\.$/),
    });
  });
});

describe("damaged base64 and data URLs", () => {
  const damaged: [string, string, string][] = [
    [
      "a data URL without a comma",
      "data:image/png;base64",
      "expected a data URL with a comma before its data, got none",
    ],
    ["a character that is no digit", "data:;base64,iVBO*w0K", 'expected base64, got "*" after 4 digits'],
    ["the alphabet of URLs", "data:;base64,_9j_", 'expected base64, got "_" after 0 digits'],
    ["text behind the padding", "data:;base64,iVA=iVA=", 'expected base64, got "=" after 3 digits'],
    ["a cut-off end", "data:;base64,iVBOR", "expected base64, got a length of 5, which is cut off"],
    ["wrong padding", "data:;base64,iV=", "expected base64, got a length of 3, which is cut off"],
    ["a half escape", "data:,%89%5", 'expected percent-encoded data, got "%" at character 3'],
    ["a letter that is no byte", "data:,%89€", 'expected percent-encoded data, got "€" at character 3'],
    ["no data", "data:image/png;base64,", "got nothing: it is empty"],
  ];
  it.each(damaged)("%s is IMAGE_UNREADABLE", async (_name, url, message) => {
    const error = await failure(prepare({ prompt: "?", images: [url] }));
    expect(error).toMatchObject({ code: "IMAGE_UNREADABLE", message: expect.stringContaining(message) });
    expect(error.message).toMatch(/^images\[0\] \(data URL, /);
  });

  it("refuses the same in a message's base64", async () => {
    const content = [{ type: "image", base64: "?" }];
    const error = await failure(prepareUntyped({ messages: [{ role: "user", content }] }));
    expect(error.message).toBe('messages[0].content[0] (base64, 1 bytes): expected base64, got "?" after 0 digits');
  });
});
