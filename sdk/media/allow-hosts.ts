import { invalid } from "../invalid.ts";

/**
 * Reads `allowHosts`: entries of the form `host:port` (IPv6 in brackets), compared exactly with the host and port that
 * a URL names.
 * @throws GlimpseError INVALID_REQUEST when an entry has another form.
 */
export function parseAllowHosts(entries: readonly string[]): ReadonlySet<string> {
  if (!Array.isArray(entries)) throw invalid("allowHosts", 'an array of "host:port"', entries);
  return new Set(entries.map((entry, index) => parseEntry(entry, `allowHosts[${index}]`)));
}

function parseEntry(entry: unknown, at: string): string {
  const parts = typeof entry === "string" ? /^([^/\\?#@\s:]+|\[[0-9a-f:.]+\]):(\d{1,5})$/i.exec(entry) : null;
  const url = `http://${entry}/`;
  if (parts === null || !URL.canParse(url)) throw invalid(at, '"host:port", without scheme and path', entry);
  return `${new URL(url).hostname}:${Number(parts[2])}`;
}

/** The host and port that a URL names, with the default port of its scheme, as `parseAllowHosts` writes them. */
export function hostAndPort(url: URL): string {
  return `${url.hostname}:${url.port || (url.protocol === "https:" ? 443 : 80)}`;
}
