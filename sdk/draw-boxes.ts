import type { Drawing } from "../orchestrator/python/draw-boxes.ts";
import { GlimpseError } from "../protocol/errors.ts";
import { followSignal } from "./abort.ts";
import { invalid, isRecord, refuseUnknownKeys } from "./invalid.ts";
import { parseAllowHosts } from "./media/allow-hosts.ts";
import { fetchLimits } from "./media/fetch.ts";
import { type ImageSource, toImage } from "./media/image.ts";
import { readMedium } from "./media/read.ts";
import { sourceLabel } from "./media/source.ts";
import type { Box } from "./result.ts";

export interface DrawBoxesOptions {
  /** Pixels. Default: by the size of the picture, at least 2. */
  lineWidth?: number | undefined;
  /** Of the frames, as `#rrggbb`, one after the other; boxes with the same label share one. Default: eight that differ. */
  colors?: readonly string[] | undefined;
  /** Whether labels are written. Default: true. Only Latin letters are sure to have a form. */
  labels?: boolean | undefined;
  /** An interpreter that has Pillow. Default: the one that `launch()` takes. */
  python?: string | undefined;
  /** Private or local `host:port`s that the picture's URL may point at. Default: none. */
  allowHosts?: readonly string[] | undefined;
  signal?: AbortSignal | undefined;
}

/** A box of a result, or one of your own. */
export type DrawableBox = Pick<Box, "box" | "label">;

const names = ["lineWidth", "colors", "labels", "python", "allowHosts", "signal"];

const MAX_LINE_WIDTH = 1_000;
/** Dark enough for white frames of scanned pages, and apart for most who confuse colours. */
const palette = ["#d62728", "#1f77b4", "#2ca02c", "#ff7f0e", "#9467bd", "#17becf", "#e377c2", "#8c564b"];

/**
 * Draws boxes on a picture and resolves to a PNG of it: upright, and on white where it was transparent, as the model saw
 * it. Takes every picture that a request takes, and needs no running model. All boxes are drawn, whatever their `image`.
 */
export async function drawBoxes(
  image: ImageSource,
  boxes: readonly DrawableBox[],
  options: DrawBoxesOptions = {},
): Promise<Uint8Array> {
  checkOptions(options);
  const drawing = { boxes: coloured(boxes, options), lineWidth: options.lineWidth };
  const { source } = toImage(image, "image");
  const label = sourceLabel(source, "image");
  const { controller, release } = followSignal(options.signal, aborted);
  const { signal } = controller;
  try {
    // Loaded by who draws: starting processes is not what every program needs.
    const [{ runDrawBoxes }, { resolvePython }] = await Promise.all([
      import("../orchestrator/python/draw-boxes.ts"),
      import("../orchestrator/python/resolve.ts"),
    ]);
    signal.throwIfAborted();
    const context = { allowHosts: parseAllowHosts(options.allowHosts ?? []), limits: fetchLimits, signal };
    const picture = await readMedium("image", source, label, context);
    return await runDrawBoxes(await resolvePython(options.python), drawing, picture, { label, signal });
  } finally {
    release();
  }
}

function aborted(signal: AbortSignal): GlimpseError {
  return new GlimpseError("ABORTED", "drawBoxes() was aborted by its signal", { cause: signal.reason });
}

function checkOptions(options: DrawBoxesOptions): void {
  if (!isRecord(options as unknown)) throw invalid("drawBoxes()", "an object of options", options);
  refuseUnknownKeys({ ...options }, names, "drawBoxes()");
  const { lineWidth, colors, signal } = options;
  if (lineWidth !== undefined && !(Number.isSafeInteger(lineWidth) && lineWidth >= 1 && lineWidth <= MAX_LINE_WIDTH)) {
    throw invalid("drawBoxes(): lineWidth", `a whole number from 1 to ${MAX_LINE_WIDTH}`, lineWidth);
  }
  if (colors !== undefined) checkColors(colors);
  if (signal !== undefined && !(signal instanceof AbortSignal)) {
    throw invalid("drawBoxes(): signal", "an AbortSignal", signal);
  }
}

function checkColors(colors: unknown): void {
  if (!Array.isArray(colors) || colors.length === 0)
    throw invalid("drawBoxes(): colors", "an array of colours", colors);
  for (const [index, color] of colors.entries()) {
    const good = typeof color === "string" && /^#[0-9a-f]{6}$/i.test(color);
    if (!good) throw invalid(`drawBoxes(): colors[${index}]`, 'a colour such as "#ff7f0e"', color);
  }
}

function coloured(
  boxes: readonly DrawableBox[],
  { colors = palette, labels = true }: DrawBoxesOptions,
): Drawing["boxes"] {
  if (!Array.isArray(boxes)) throw invalid("boxes", "an array of boxes", boxes);
  const colorOf = new Map<unknown, string>();
  return boxes.map((drawn: unknown, index) => {
    const { box, label } = checkBox(drawn, `boxes[${index}]`);
    const key = label ?? index;
    const color = colorOf.get(key) ?? (colors[colorOf.size % colors.length] as string);
    colorOf.set(key, color);
    return { box, color, label: labels ? label : undefined };
  });
}

function checkBox(drawn: unknown, at: string): DrawableBox {
  const { box, label } = isRecord(drawn) ? drawn : {};
  const isBox = Array.isArray(box) && box.length === 4 && box.every(Number.isFinite);
  if (!isBox) throw invalid(at, "{ box: [left, top, right, bottom] }", drawn);
  if (box[0] > box[2] || box[1] > box[3]) {
    const got = `[${box.join(", ")}]`;
    const expected = "left, top, right, bottom, with left at most right and top at most bottom";
    throw new GlimpseError("INVALID_REQUEST", `${at}.box: expected ${expected}, got ${got}`);
  }
  if (label !== undefined && typeof label !== "string") throw invalid(`${at}.label`, "a text", label);
  return { box: box as unknown as Box["box"], label };
}
