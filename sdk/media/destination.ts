import { lookup } from "node:dns/promises";
import { isIP } from "node:net";
import { GlimpseError } from "../../protocol/errors.ts";
import { orAborted } from "../abort.ts";
import { isPublicAddress } from "./address.ts";
import { hostAndPort } from "./allow-hosts.ts";
import { plainUrl } from "./url.ts";

export interface Address {
  address: string;
  family: 4 | 6;
}

export type Resolve = (hostname: string) => Promise<Address[]>;

export const resolveWithSystem: Resolve = async (hostname) => {
  const addresses = await lookup(hostname, { all: true });
  return addresses.map(({ address, family }) => ({ address, family: family === 6 ? 6 : 4 }));
};

/**
 * Decides whether one hop may be made, and returns the addresses to connect to: nothing else may be asked for them
 * afterwards, or the answer could be another one. Every address of a name must be public, unless `allowHosts` has it.
 */
export async function checkDestination(
  url: URL,
  allowHosts: ReadonlySet<string>,
  resolve: Resolve,
  signal: AbortSignal,
): Promise<Address[]> {
  if (url.protocol !== "http:" && url.protocol !== "https:") throw refused(url, "http or https", url.protocol);
  if (url.username !== "" || url.password !== "") {
    throw refused(url, "a URL without credentials", "one with a user name or password");
  }
  const addresses = await addressesOf(url, resolve, signal);
  if (allowHosts.has(hostAndPort(url))) return addresses;
  const hidden = addresses.find(({ address }) => !isPublicAddress(address));
  if (hidden === undefined) return addresses;
  throw refused(
    url,
    "a host on the public internet",
    hidden.address,
    `allowHosts: ["${hostAndPort(url)}"] permits it (--allow-host ${hostAndPort(url)} in the shell).`,
  );
}

async function addressesOf(url: URL, resolve: Resolve, signal: AbortSignal): Promise<Address[]> {
  const literal = url.hostname.replace(/^\[|\]$/g, "");
  const family = isIP(literal);
  if (family === 4 || family === 6) return [{ address: literal, family }];
  signal.throwIfAborted();
  try {
    const addresses = await orAborted(resolve(url.hostname), signal);
    if (addresses.length > 0) return addresses;
  } catch (cause) {
    signal.throwIfAborted();
    throw unresolved(url, cause);
  }
  throw unresolved(url);
}

function unresolved(url: URL, cause?: unknown): GlimpseError {
  return new GlimpseError("FETCH_FAILED", `${plainUrl(url)}: the name ${url.hostname} has no address`, {
    hint: "Check the name, and that this machine can resolve names.",
    cause,
  });
}

function refused(
  url: URL,
  expected: string,
  got: string,
  hint = "Fetch it yourself and pass the bytes.",
): GlimpseError {
  return new GlimpseError("FETCH_REFUSED", `${plainUrl(url)}: expected ${expected}, got ${got}`, { hint });
}
