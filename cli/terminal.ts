import type { WriteStream } from "node:tty";

/** Where the command writes: a terminal, or a pipe or file. */
export type Output = NodeJS.WriteStream & Partial<WriteStream>;

/** Whether `output` is a terminal that shows colours; NO_COLOR, FORCE_COLOR and TERM=dumb are honoured. */
export function hasColors(output: Output): boolean {
  return output.isTTY === true && output.hasColors?.() === true;
}

export function dim(text: string, output: Output): string {
  return hasColors(output) && text !== "" ? `\x1b[2m${text}\x1b[22m` : text;
}

/** Text from a model or a server must not move the cursor or write to the clipboard: on a terminal, control characters go. */
export function printable(text: string, output: Output): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is removed.
  return output.isTTY ? text.replace(/[\x00-\x08\x0b-\x1f\x7f-\x9f]/g, "") : text;
}

/** Bytes in the units that pip and disks use: 1 kB is 1000 bytes. */
export function size(bytes: number): string {
  if (bytes < 1e6) return `${Math.ceil(bytes / 1e3)} kB`;
  return bytes < 1e9 ? `${(bytes / 1e6).toFixed(1)} MB` : `${(bytes / 1e9).toFixed(2)} GB`;
}
