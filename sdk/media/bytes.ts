/** A number of bytes for messages: 1 KiB is 1024 of them, as in MAX_MEDIA_BYTES. */
export function formatBytes(bytes: number): string {
  if (bytes < 1024) return `${bytes} bytes`;
  const kib = bytes / 1024;
  return kib < 1024 ? `${short(kib)} KiB` : `${short(kib / 1024)} MiB`;
}

function short(value: number): string {
  return value < 10 && !Number.isInteger(value) ? value.toFixed(1) : String(Math.round(value));
}
