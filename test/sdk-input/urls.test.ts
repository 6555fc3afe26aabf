import { once } from "node:events";
import { type AddressInfo, createServer as createTcpServer } from "node:net";
import { gzipSync } from "node:zlib";
import axios from "axios";
import { describe, expect, it, onTestFinished, vi } from "vitest";
import packageJson from "../../package.json" with { type: "json" };
import { parseAllowHosts } from "../../sdk/media/allow-hosts.ts";
import { checkDestination } from "../../sdk/media/destination.ts";
import { failure, png, prepare } from "./pictures.ts";
import { redirect, serve } from "./server.ts";

/** A name that resolves as the test wants; the real system is not asked. */
function resolving(names: Record<string, string[]>) {
  return async (hostname: string) => {
    const addresses = names[hostname] ?? [];
    return addresses.map((address) => ({ address, family: address.includes(":") ? (6 as const) : (4 as const) }));
  };
}

describe("a picture behind a URL", () => {
  it("is read, whatever its content type says, by a client that says who it is and nothing else", async () => {
    const server = await serve((_request, response) => response.setHeader("content-type", "text/html").end(png));
    const { frames, labels } = await prepare(
      { prompt: "?", images: [server.url("/a.png?token=secret#part")] },
      { allowHosts: [server.host] },
    );
    expect(frames).toEqual([png]);
    expect(labels).toEqual([server.url("/a.png")]);
    const { headers, url } = server.requests[0] ?? {};
    expect(url).toBe("/a.png?token=secret");
    expect(headers?.connection).toBe("close");
    expect(headers?.["user-agent"]).toBe(`glimpse/${packageJson.version} node/${process.versions.node}`);
    expect(Object.keys(headers ?? {}).sort()).toEqual([
      "accept",
      "accept-encoding",
      "connection",
      "host",
      "user-agent",
    ]);
  });

  it("is not shown the headers, interceptors or proxies that the program gave to its own axios", async () => {
    axios.defaults.headers.common["Authorization"] = "Bearer secret";
    process.env["http_proxy"] = "http://127.0.0.1:1";
    onTestFinished(() => {
      delete axios.defaults.headers.common["Authorization"];
      delete process.env["http_proxy"];
    });
    const server = await serve((_request, response) => response.end(png));
    await prepare({ prompt: "?", images: [server.url("/")] }, { allowHosts: [server.host] });
    expect(server.requests[0]?.headers).not.toHaveProperty("authorization");
  });

  it("is read once when the request names it twice", async () => {
    const server = await serve((_request, response) => response.end(png));
    const url = server.url("/a.png");
    const { frames } = await prepare({ prompt: "?", images: [url, new URL(url)] }, { allowHosts: [server.host] });
    expect([frames.length, server.requests.length]).toEqual([2, 1]);
  });

  it("leaves no timer behind that would keep the program alive", async () => {
    const [started, cleared] = [vi.spyOn(globalThis, "setTimeout"), vi.spyOn(globalThis, "clearTimeout")];
    onTestFinished(() => void vi.restoreAllMocks());
    const server = await serve((_request, response) => response.end(png));
    await prepare({ prompt: "?", images: [server.url("/")] }, { allowHosts: [server.host] });
    const deadline = started.mock.results[started.mock.calls.findIndex(([, ms]) => ms === 30_000)]?.value;
    expect(deadline).toBeDefined();
    expect(cleared).toHaveBeenCalledWith(deadline);
  });

  it("is found by redirects, relative ones too", async () => {
    const server = await serve((request, response) => {
      if (request.url === "/1") redirect(response, "2?x=1", 301);
      else if (request.url === "/2?x=1") redirect(response, server.url("/3"), 308);
      else response.end(png);
    });
    const { labels } = await prepare({ prompt: "?", images: [server.url("/1")] }, { allowHosts: [server.host] });
    expect(labels).toEqual([server.url("/1")]);
    expect(server.requests.map(({ url }) => url)).toEqual(["/1", "/2?x=1", "/3"]);
  });

  it("is read from the address that was checked, even if the name has another one by then", async () => {
    const server = await serve((_request, response) => response.end(png));
    let asked = 0;
    const resolve = async () => [{ address: asked++ === 0 ? "127.0.0.1" : "192.0.2.1", family: 4 as const }];
    const host = `pictures.test:${server.port}`;
    await prepare({ prompt: "?", images: [`http://${host}/`] }, { allowHosts: [host], limits: { resolve } });
    expect(asked).toBe(1);
    expect(server.requests[0]?.headers.host).toBe(host);
  });
});

describe("Glimpse does not go", () => {
  const literals = [
    "http://127.0.0.1/",
    "http://2130706433/",
    "http://0x7f.1/",
    "http://127.1/",
    "http://0/",
    "http://[::1]/",
    "http://[::]/",
    "http://[::ffff:127.0.0.1]/",
    "http://[64:ff9b::7f00:1]/",
    "http://[2002:7f00:1::]/",
    "http://[fe80::1]/",
    "http://[fd00:ec2::254]/",
    "http://169.254.169.254/latest/meta-data/",
    "http://100.100.100.200/",
    "https://10.0.0.1:8443/",
    "http://224.0.0.1/",
    "HTTP:127.0.0.1",
  ];
  it.each(literals)("to %s", async (url) => {
    const error = await failure(prepare({ prompt: "?", images: [url] }));
    expect(error).toMatchObject({
      code: "FETCH_REFUSED",
      message: expect.stringContaining("expected a host on the public internet, got "),
      hint: expect.stringMatching(/^allowHosts: \["([^"]+:\d+)"\] permits it \(--allow-host \1 in the shell\)\.$/),
    });
  });

  it("to a server of this machine that is not named, not even to open a connection", async () => {
    const server = await serve((_request, response) => response.end(png));
    const other = [`127.0.0.1:${server.port + 1}`, `localhost:${server.port}`];
    const error = await failure(prepare({ prompt: "?", images: [server.url("/a?b=c")] }, { allowHosts: other }));
    expect(error).toMatchObject({
      code: "FETCH_REFUSED",
      message: `${server.url("/a")}: expected a host on the public internet, got 127.0.0.1`,
      hint: `allowHosts: ["${server.host}"] permits it (--allow-host ${server.host} in the shell).`,
    });
    expect(server.requests).toEqual([]);
  });

  it("where the hint of its error leads, unless it is followed: then it does", async () => {
    const server = await serve((_request, response) => response.end(png));
    const { hint } = await failure(prepare({ prompt: "?", images: [server.url("/")] }));
    const host = /"(.+)"/.exec(hint ?? "")?.[1] ?? "";
    expect((await prepare({ prompt: "?", images: [server.url("/")] }, { allowHosts: [host] })).frames).toEqual([png]);
  });

  it("to a name of which one address is private", async () => {
    const resolve = resolving({ "mixed.test": ["93.184.216.34", "10.0.0.7"], "six.test": ["::ffff:10.0.0.7"] });
    for (const [host, address] of [
      ["mixed.test", "10.0.0.7"],
      ["six.test", "::ffff:10.0.0.7"],
    ]) {
      const error = await failure(prepare({ prompt: "?", images: [`https://${host}/a.png`] }, { limits: { resolve } }));
      expect(error).toMatchObject({ code: "FETCH_REFUSED", message: expect.stringContaining(`got ${address}`) });
    }
  });

  it("to localhost, as this system resolves it", async () => {
    const error = await failure(prepare({ prompt: "?", images: ["http://localhost:1/"] }));
    expect(error.code).toBe("FETCH_REFUSED");
  });

  it("where a redirect of an allowed host leads", async () => {
    const secret = await serve((_request, response) => response.end(png));
    const server = await serve((request, response) => {
      redirect(response, request.url === "/file" ? "file:///etc/passwd" : secret.url("/"));
    });
    for (const path of ["/", "/file"]) {
      const error = await failure(prepare({ prompt: "?", images: [server.url(path)] }, { allowHosts: [server.host] }));
      expect(error.code).toBe("FETCH_REFUSED");
    }
    expect(secret.requests).toEqual([]);
  });

  it("with credentials, and does not repeat them", async () => {
    const server = await serve((_request, response) =>
      redirect(response, server.url("/").replace("//", "//user:hunter2@")),
    );
    for (const url of ["http://user:hunter2@example.com/", "http://hunter2@example.com/", server.url("/")]) {
      const error = await failure(prepare({ prompt: "?", images: [url] }, { allowHosts: [server.host] }));
      expect(error).toMatchObject({
        code: "FETCH_REFUSED",
        message: expect.stringContaining("expected a URL without credentials"),
      });
      expect(error.message).not.toContain("hunter2");
    }
  });
});

describe("a URL that does not give a picture", () => {
  it.each([
    [404, "URL_NOT_FOUND", "404 Not Found", "Check the address."],
    [403, "URL_NOT_FOUND", "403 Forbidden", "Fetch it yourself, with its credentials, and pass the bytes."],
    [429, "FETCH_FAILED", "429 Too Many Requests", "Check the address."],
    [500, "FETCH_FAILED", "500 Internal Server Error", "Check the address."],
    [302, "FETCH_FAILED", "302 Found", "Check the address."],
  ])("answers %i", async (status, code, text, hint) => {
    const server = await serve((_request, response) => response.writeHead(status).end(png));
    const call = prepare({ prompt: "?", images: [server.url("/a.png?token=secret")] }, { allowHosts: [server.host] });
    expect(await failure(call)).toMatchObject({
      code,
      message: `${server.url("/a.png")}: expected status 200, got ${text}`,
      hint,
    });
  });

  it("gives a page instead", async () => {
    const server = await serve((_request, response) => response.setHeader("content-type", "image/png").end("<html>"));
    const call = prepare({ prompt: "?", images: [server.url("/a.png")] }, { allowHosts: [server.host] });
    expect(await failure(call)).toMatchObject({
      code: "IMAGE_UNREADABLE",
      message: `${server.url("/a.png")}: expected the bytes of a PNG, JPEG, WebP or GIF, got an HTML page`,
    });
  });

  it("redirects in a circle", async () => {
    const server = await serve((_request, response) => redirect(response, "/"));
    const call = prepare({ prompt: "?", images: [server.url("/")] }, { allowHosts: [server.host] });
    expect(await failure(call)).toMatchObject({
      code: "FETCH_FAILED",
      message: `${server.url("/")}: it redirects more than 5 times`,
    });
    expect(server.requests).toHaveLength(6);
  });

  it("never answers", async () => {
    const server = await serve(() => {});
    const call = prepare(
      { prompt: "?", images: [server.url("/?q")] },
      { allowHosts: [server.host], limits: { totalMs: 200 } },
    );
    expect(await failure(call)).toMatchObject({
      code: "FETCH_FAILED",
      message: `${server.url("/")}: expected all of it within 0.2 s`,
    });
  });

  it("never ends, a byte at a time", async () => {
    const server = await serve((_request, response) => {
      const drip = setInterval(() => response.write("\x89"), 20);
      response.once("close", () => clearInterval(drip));
    });
    const call = prepare(
      { prompt: "?", images: [server.url("/")] },
      { allowHosts: [server.host], limits: { totalMs: 300 } },
    );
    expect(await failure(call)).toMatchObject({
      code: "FETCH_FAILED",
      message: expect.stringContaining("within 0.3 s"),
    });
  });

  it("spends its time on redirects", async () => {
    const server = await serve((_request, response) => void setTimeout(() => redirect(response, "/"), 60));
    const call = prepare(
      { prompt: "?", images: [server.url("/")] },
      { allowHosts: [server.host], limits: { totalMs: 150 } },
    );
    expect(await failure(call)).toMatchObject({
      code: "FETCH_FAILED",
      message: expect.stringContaining("within 0.15 s"),
    });
  });

  it("has a name that nobody resolves in time", async () => {
    const resolve = () => new Promise<never>(() => {});
    const call = prepare({ prompt: "?", images: ["http://slow.test/"] }, { limits: { resolve, totalMs: 50 } });
    expect(await failure(call)).toMatchObject({
      code: "FETCH_FAILED",
      message: expect.stringContaining("within 0.05 s"),
    });
  });

  it("has a name without address", async () => {
    const refuse = () => Promise.reject(new Error("ENOTFOUND"));
    for (const resolve of [resolving({}), refuse]) {
      const error = await failure(prepare({ prompt: "?", images: ["http://no.test/a"] }, { limits: { resolve } }));
      expect(error).toMatchObject({
        code: "FETCH_FAILED",
        message: "http://no.test/a: the name no.test has no address",
      });
    }
  });

  it("is too large, decompressed or not", async () => {
    const bytes = Buffer.alloc(4_000_000, png);
    const server = await serve((request, response) => {
      const bomb = request.url === "/bomb";
      if (bomb) response.setHeader("content-encoding", "gzip");
      response.end(bomb ? gzipSync(bytes) : bytes);
    });
    for (const path of ["/plain", "/bomb"]) {
      const limits = { maxBytes: 1_000_000 };
      const error = await failure(
        prepare({ prompt: "?", images: [server.url(path)] }, { allowHosts: [server.host], limits }),
      );
      expect(error).toMatchObject({ code: "IMAGE_TOO_LARGE", message: expect.stringContaining(server.url(path)) });
    }
  });

  it("breaks off", async () => {
    const server = await serve((_request, response) => {
      response.writeHead(200, { "content-length": "1000" });
      response.write(png, () => response.destroy());
    });
    const call = prepare({ prompt: "?", images: [server.url("/?token=secret")] }, { allowHosts: [server.host] });
    const error = await failure(call);
    expect(error).toMatchObject({
      code: "FETCH_FAILED",
      message: expect.stringContaining("no answer that can be read"),
    });
    expect(JSON.stringify([error.message, error.cause])).not.toContain("secret");
  });

  it("speaks no HTTP", async () => {
    const server = createTcpServer((socket) => socket.end("SSH-2.0-OpenSSH\r\n"));
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    onTestFinished(() => void server.close());
    const host = `127.0.0.1:${(server.address() as AddressInfo).port}`;
    const error = await failure(prepare({ prompt: "?", images: [`http://${host}/`] }, { allowHosts: [host] }));
    expect(error).toMatchObject({ code: "FETCH_FAILED", message: expect.stringContaining("Parse Error") });
  });

  it("has nobody behind it", async () => {
    const error = await failure(
      prepare({ prompt: "?", images: ["http://127.0.0.1:1/"] }, { allowHosts: ["127.0.0.1:1"] }),
    );
    expect(error).toMatchObject({ code: "FETCH_FAILED", message: expect.stringContaining("ECONNREFUSED") });
  });
});

describe("allowHosts", () => {
  it.each([
    "http://host:1",
    "host:1/path",
    "host",
    "host:",
    "host:99999",
    "user@host:1",
    "",
    "::1:80",
    "a b:1",
    "a\\b:1",
    80,
  ])("refuses %j by name", (entry) => {
    expect(() => parseAllowHosts(["ok:1", entry as string])).toThrow(
      expect.objectContaining({
        code: "INVALID_REQUEST",
        message: expect.stringMatching(/^allowHosts\[1\]: expected "host:port", without scheme and path, got /),
      }),
    );
  });

  it("takes names as URLs write them, and IPv6 in any spelling, in brackets", () => {
    expect([...parseAllowHosts(["INTRANET:080", "bücher.test:8080", "[0:0::1]:1", "10.0.0.1:443"])]).toEqual([
      "intranet:80",
      "xn--bcher-kva.test:8080",
      "[::1]:1",
      "10.0.0.1:443",
    ]);
  });

  it.each([
    ["http://intranet/", true],
    ["http://intranet:80/", true],
    ["https://intranet:80/", true],
    ["https://intranet/", false],
    ["http://intranet:8080/", false],
    ["http://intranet.evil.test/", false],
    ["http://sub.intranet/", false],
    ["http://intranet./", false],
  ])("with intranet:80, %s is allowed: %s", async (url, allowed) => {
    const addresses = [{ address: "10.0.0.1", family: 4 as const }];
    const { signal } = new AbortController();
    const check = checkDestination(new URL(url), parseAllowHosts(["intranet:80"]), async () => addresses, signal);
    if (allowed) expect(await check).toEqual(addresses);
    else expect(await failure(check)).toMatchObject({ code: "FETCH_REFUSED" });
  });
});
