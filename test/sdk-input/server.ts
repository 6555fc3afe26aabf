import { once } from "node:events";
import { createServer, type IncomingMessage, type RequestListener, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { onTestFinished } from "vitest";

export interface TestServer {
  /** `127.0.0.1:port`. */
  host: string;
  port: number;
  url: (path: string) => string;
  requests: IncomingMessage[];
  /** Calls back with every request, after the listener. */
  onRequest: (callback: (request: IncomingMessage) => void) => void;
}

/**
 * A real HTTP server on the loopback. The test fails by its time limit when a connection to it is still open after it.
 */
export async function serve(listener: RequestListener): Promise<TestServer> {
  const requests: IncomingMessage[] = [];
  const server = createServer({ keepAliveTimeout: 60_000 }, (request, response) => {
    requests.push(request);
    listener(request, response);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  onTestFinished(async () => {
    server.close();
    await once(server, "close");
  });
  const { port } = server.address() as AddressInfo;
  const host = `127.0.0.1:${port}`;
  return {
    host,
    port,
    url: (path) => `http://${host}${path}`,
    requests,
    onRequest: (callback) => void server.on("request", callback),
  };
}

export function redirect(response: ServerResponse, location: string, status = 302): void {
  response.writeHead(status, { location }).end();
}
