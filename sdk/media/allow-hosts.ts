import { invalid } from "../request/invalid.ts";

/**
 * Reads `allowHosts`: entries of the form `host:port` (IPv6 in brackets), compared exactly with the host and port that
 * a URL names. Without a port, 80 and 443 are meant.
 * @throws GlimpseError INVALID_REQUEST when an entry has another form.
 */
export function parseAllowHosts(entries: readonly string[]): ReadonlySet<string> {
  if (!Array.isArray(entries)) throw invalid("allowHosts", 'an array of "host:port"', entries);
  return new Set(entries.flatMap((entry, index) => parseEntry(entry, `allowHosts[${index}]`)));
}

function parseEntry(entry: unknown, at: string): string[] {
  const parts = typeof entry === "string" ? /^([^/\\?#@\s:]+|\[[0-9a-f:.]+\])(?::(\d{1,5}))?$/i.exec(entry) : null;
  const url = `http://${entry}/`;
  if (parts === null || !URL.canParse(url)) throw invalid(at, '"host:port", without scheme and path', entry);
  const { hostname } = new URL(url);
  const port = parts[2];
  return port === undefined ? [`${hostname}:80`, `${hostname}:443`] : [`${hostname}:${Number(port)}`];
}

/** The host and port that a URL names, with the default port of its scheme, as `parseAllowHosts` writes them. */
export function hostAndPort(url: URL): string {
  return `${url.hostname}:${url.port || (url.protocol === "https:" ? 443 : 80)}`;
}
