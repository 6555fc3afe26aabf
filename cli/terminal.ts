import type { WriteStream } from "node:tty";

/** Where the command writes: a terminal, or a pipe or file. */
export type Output = NodeJS.WriteStream & Partial<WriteStream>;

/**
 * The one way in which the command writes text, be it from a model, a server or a file's name: on a terminal it loses the
 * control characters that would move the cursor or write to the clipboard.
 */
export function print(output: Output, text: string, style: "plain" | "dim" = "plain"): void {
  const shown = output.isTTY ? withoutControls(text) : text;
  output.write(style === "dim" && shown !== "" && hasColors(output) ? `\x1b[2m${shown}\x1b[22m` : shown);
}

/** Empties the line that the cursor is in, on a terminal. */
export function eraseLine(output: Output): void {
  if (output.isTTY) output.write("\r\x1b[K");
}

/** Whether `output` is a terminal that shows colours; NO_COLOR, FORCE_COLOR and TERM=dumb are honoured. */
function hasColors(output: Output): boolean {
  return output.isTTY === true && output.hasColors?.() === true;
}

function withoutControls(text: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is removed.
  return text.replace(/[\x00-\x08\x0b-\x1f\x7f-\x9f]/g, "");
}

/** Bytes in the units that pip and disks use: 1 kB is 1000 bytes. */
export function size(bytes: number): string {
  if (bytes < 1e6) return `${Math.ceil(bytes / 1e3)} kB`;
  return bytes < 1e9 ? `${(bytes / 1e6).toFixed(1)} MB` : `${(bytes / 1e9).toFixed(2)} GB`;
}
