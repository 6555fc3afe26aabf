/** A URL for messages and logs: without credentials, query and fragment, where secrets travel. */
export function plainUrl(url: string | URL): string {
  const { protocol, host, pathname } = new URL(url);
  const plain = `${protocol}//${host}${pathname}`;
  return plain.length > 200 ? `${plain.slice(0, 200)}…` : plain;
}
