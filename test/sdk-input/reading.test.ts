import { getEventListeners, once } from "node:events";
import { describe, expect, it, onTestFinished, vi } from "vitest";
import type { ImageSource } from "../../sdk/media/image.ts";
import { video } from "../../sdk/media/video.ts";
import { failure, png, pngLike, prepare, writePicture } from "./pictures.ts";
import { serve } from "./server.ts";

describe("reading the pictures of a request", () => {
  it("takes the bytes when it is called: what the caller does with them afterwards changes nothing", async () => {
    const [bytes, other] = [Buffer.from(png), new Uint8Array(png)];
    const images: ImageSource[] = [bytes, other.buffer, bytes];
    const call = prepare({ prompt: "?", images });
    bytes.fill(0);
    other.fill(0);
    images.length = 0;
    const { frames } = await call;
    expect(frames.map((frame) => Buffer.compare(frame, png))).toEqual([0, 0, 0]);
    expect(frames[0]).toBe(frames[2]);
  });

  it("reads at most eight at once, and keeps their order whichever is ready first", async () => {
    const waiting: (() => void)[] = [];
    let most = 0;
    const answerTheLatestFirst = () => {
      for (const answer of waiting.splice(0).reverse()) answer();
    };
    const slowBlob = (bytes: Buffer): Blob => {
      const blob = new Blob([bytes]);
      blob.arrayBuffer = () => {
        if (waiting.length === 0) setImmediate(answerTheLatestFirst);
        return new Promise((resolve) => {
          most = Math.max(
            most,
            waiting.push(() => resolve(new Uint8Array(bytes).buffer)),
          );
        });
      };
      return blob;
    };
    const pictures = Array.from({ length: 20 }, (_, index) => pngLike(`${index}`));
    const { frames } = await prepare({ prompt: "?", images: pictures.map(slowBlob) });
    expect(frames.map((frame) => Buffer.from(frame))).toEqual(pictures);
    expect(most).toBe(8);
  });

  it("gives up the others when one fails, and reports the first failure", async () => {
    const server = await serve(() => {});
    const closed: Promise<unknown>[] = [];
    const arrived = new Promise<void>((resolve) => {
      server.onRequest((request) => {
        closed.push(once(request.socket, "close"));
        if (closed.length === 2) resolve();
      });
    });
    const blob = new Blob(["no picture"]);
    blob.arrayBuffer = () => arrived.then(() => new ArrayBuffer(0));
    const images = [server.url("/1"), blob, server.url("/2")];
    const error = await failure(prepare({ prompt: "?", images }, { allowHosts: [server.host] }));
    expect(error).toMatchObject({
      code: "IMAGE_UNREADABLE",
      message: expect.stringContaining("images[1] (Blob, 10 bytes)"),
    });
    await Promise.all(closed);
  });

  it("names the frame of a video that cannot be read", async () => {
    const clip = video({ frames: [png, new Uint8Array(3)], fps: 1 });
    expect((await failure(prepare({ prompt: "?", video: clip }))).message).toMatch(
      /^video\.frames\[1\] \(Buffer, 3 bytes\)/,
    );
  });
});

describe("a signal that fires", () => {
  const reason = new Error("the user went away");
  const expected = { code: "ABORTED", message: "the request was aborted by its signal", cause: reason };

  it("before the call ends it before anything is read", async () => {
    const signal = AbortSignal.abort(reason);
    expect(await failure(prepare({ prompt: "?", images: ["no/such.png"] }, { signal }))).toMatchObject(expected);
    expect(await failure(prepare({ prompt: "?" }, { signal }))).toMatchObject(expected);
  });

  it("while a server is silent ends the request and the connection", async () => {
    const server = await serve(() => {});
    const controller = new AbortController();
    const closed = new Promise<unknown>((resolve) => {
      server.onRequest((request) => {
        resolve(once(request.socket, "close"));
        controller.abort(reason);
      });
    });
    const { signal } = controller;
    const call = prepare({ prompt: "?", images: [server.url("/")] }, { allowHosts: [server.host], signal });
    expect(await failure(call)).toMatchObject(expected);
    await closed;
  });

  it("while a body is arriving ends the request", async () => {
    const controller = new AbortController();
    const server = await serve((_request, response) => {
      response.write(png);
      response.write(Buffer.alloc(1_000_000), () => controller.abort(reason));
    });
    const { signal } = controller;
    const call = prepare({ prompt: "?", images: [server.url("/")] }, { allowHosts: [server.host], signal });
    expect(await failure(call)).toMatchObject(expected);
  });

  it("while a name is being resolved ends the request; a late failure of it goes nowhere", async () => {
    const controller = new AbortController();
    let fail = (_error: Error): void => {};
    const resolve = () => {
      queueMicrotask(() => controller.abort(reason));
      return new Promise<never>((_resolve, reject) => {
        fail = reject;
      });
    };
    const { signal } = controller;
    const call = prepare({ prompt: "?", images: ["http://slow.test/"] }, { limits: { resolve }, signal });
    expect(await failure(call)).toMatchObject(expected);
    fail(new Error("late"));
  });

  it("while a file is being read ends the request", async () => {
    const controller = new AbortController();
    const call = prepare({ prompt: "?", images: [writePicture("a.png")] }, { signal: controller.signal });
    controller.abort(reason);
    expect(await failure(call)).toMatchObject(expected);
  });

  it("keeps no hold of it after the request: many requests, one after the other and at once, leave no listener", async () => {
    const warnings: Error[] = [];
    const onWarning = (warning: Error) => warnings.push(warning);
    process.on("warning", onWarning);
    onTestFinished(() => void process.off("warning", onWarning));
    const { signal } = new AbortController();
    const images = Array.from({ length: 30 }, (_, index) => writePicture(`${index}.png`));
    for (let request = 0; request < 20; request++) await prepare({ prompt: "?", images: [png] }, { signal });
    await Promise.all(Array.from({ length: 20 }, () => prepare({ prompt: "?", images }, { signal })));
    expect(getEventListeners(signal, "abort")).toEqual([]);
    expect(warnings).toEqual([]);
  });

  it("of the caller is not followed here: the stream, which made the other signal, does that", async () => {
    const { signal } = new AbortController();
    const added = vi.spyOn(signal, "addEventListener");
    await prepare({ prompt: "?", images: [writePicture("a.png")], signal });
    expect(added).not.toHaveBeenCalled();
  });
});
