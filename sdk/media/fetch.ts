import http from "node:http";
import https from "node:https";
import type { AxiosError, AxiosResponse } from "axios";
import { version } from "../../orchestrator/package-root.ts";
import { GlimpseError } from "../../protocol/errors.ts";
import { followSignal } from "../abort.ts";
import { type Address, checkDestination, type Resolve, resolveWithSystem } from "./destination.ts";
import { type MediumKind, mediumKinds, tooLarge } from "./kind.ts";
import { plainUrl } from "./url.ts";

export interface FetchLimits {
  /** For everything: names, all hops and the body. Default: that of its kind. */
  totalMs?: number | undefined;
  maxRedirects: number;
  /** Bytes of the body, decompressed. Default: those of its kind. */
  maxBytes?: number | undefined;
  resolve: Resolve;
}

export const fetchLimits: FetchLimits = {
  maxRedirects: 5,
  resolve: resolveWithSystem,
};

/**
 * The body behind an http(s) URL. Rejects with FETCH_REFUSED, FETCH_FAILED, URL_NOT_FOUND or, if it is larger than its kind
 * may be, with that kind's code, or with the signal's reason. Environment proxies are not used: behind one, the address
 * that is reached could not be checked.
 */
export async function fetchBytes(
  kind: MediumKind,
  address: string,
  allowHosts: ReadonlySet<string>,
  limits: FetchLimits,
  signal: AbortSignal,
): Promise<Uint8Array> {
  const { controller, release } = followSignal(signal);
  const { totalMs = mediumKinds[kind].fetchMs } = limits;
  const timer = setTimeout(() => controller.abort(outOfTime(address, totalMs)), totalMs);
  try {
    return await followRedirects(kind, new URL(address), allowHosts, limits, controller.signal);
  } finally {
    clearTimeout(timer);
    release();
  }
}

async function followRedirects(
  kind: MediumKind,
  start: URL,
  allowHosts: ReadonlySet<string>,
  limits: FetchLimits,
  signal: AbortSignal,
): Promise<Uint8Array> {
  const { maxBytes = mediumKinds[kind].maxBytes } = limits;
  let url = start;
  for (let hop = 0; hop <= limits.maxRedirects; hop++) {
    const addresses = await checkDestination(url, allowHosts, limits.resolve, signal);
    const response = await request(kind, url, addresses, maxBytes, signal);
    if (response.status === 200) return response.data;
    url = redirectTarget(url, response);
  }
  throw failed(start, `it redirects more than ${limits.maxRedirects} times`, "Use the address that it ends at.");
}

/** One GET, without redirects, to addresses that have been checked. */
async function request(
  kind: MediumKind,
  url: URL,
  addresses: Address[],
  maxBytes: number,
  signal: AbortSignal,
): Promise<AxiosResponse<Buffer>> {
  // Loaded when the first URL is read: programs without URLs need not wait for it.
  const { Axios } = await import("axios");
  signal.throwIfAborted();
  // A bare Axios and fresh agents: the program's own axios defaults, interceptors, agents and proxies (with their
  // credentials) are not for strangers' servers, and a connection left open by others was not checked.
  const client = new Axios({
    adapter: "http",
    responseType: "arraybuffer",
    maxRedirects: 0,
    maxContentLength: maxBytes,
    proxy: false,
    httpAgent: new http.Agent({ keepAlive: false }),
    httpsAgent: new https.Agent({ keepAlive: false }),
    headers: { "User-Agent": userAgent(), Accept: mediumKinds[kind].accept },
  });
  try {
    return await client.get<Buffer>(url.href, { signal, lookup: pinned(addresses) });
  } catch (error) {
    signal.throwIfAborted();
    throw unanswered(kind, url, error as AxiosError);
  }
}

/** A `lookup` that asks nobody. */
function pinned(addresses: Address[]) {
  return (_hostname: string, _options: object, done: (error: null, addresses: Address[]) => void): void =>
    done(null, addresses);
}

/** The error of axios itself is not passed on as the cause: it holds the whole URL. */
function unanswered(kind: MediumKind, url: URL, { message, code }: AxiosError): GlimpseError {
  if (message.startsWith("maxContentLength")) return tooLarge(kind, plainUrl(url), undefined);
  const reason = (message || code || "unknown").replaceAll(url.href, plainUrl(url));
  return failed(url, `no answer that can be read (${reason})`, "Check the address, or fetch it yourself.");
}

function redirectTarget(from: URL, response: AxiosResponse<Buffer>): URL {
  const location: unknown = response.headers["location"];
  const redirects = [301, 302, 303, 307, 308].includes(response.status) && typeof location === "string";
  if (!redirects) throw wrongStatus(from, response);
  if (!URL.canParse(location, from.href)) throw failed(from, "it redirects to what is no URL", "Check the address.");
  return new URL(location, from.href);
}

/** Statuses of 4xx which say that another try may be answered otherwise: RFC 9110, 8470 and 6585. */
const passing: ReadonlySet<number> = new Set([408, 425, 429]);

function wrongStatus(url: URL, { status, statusText }: AxiosResponse<Buffer>): GlimpseError {
  const what = `expected status 200, got ${status} ${statusText}`.trimEnd();
  const secret = status === 401 || status === 403;
  const hint = secret ? "Fetch it yourself, with its credentials, and pass the bytes." : "Check the address.";
  if (status < 400 || status >= 500 || passing.has(status)) return failed(url, what, hint);
  return new GlimpseError("URL_NOT_FOUND", `${plainUrl(url)}: ${what}`, { hint });
}

function failed(url: URL, what: string, hint: string): GlimpseError {
  return new GlimpseError("FETCH_FAILED", `${plainUrl(url)}: ${what}`, { hint });
}

function outOfTime(address: string, ms: number): GlimpseError {
  return failed(new URL(address), `expected all of it within ${ms / 1000} s`, "Fetch it yourself and pass the bytes.");
}

function userAgent(): string {
  return `glimpse/${version} node/${process.versions.node}`;
}
