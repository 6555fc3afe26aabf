export const warningCodes = ["IMAGE_PADDED", "IMAGE_FIRST_FRAME", "BOX_IMAGE_ASSUMED", "MAX_NEW_TOKENS_CUT"] as const;

export type WarningCode = (typeof warningCodes)[number];

export interface Box {
  /** Which medium of the request, a picture, video or PDF, counted from 0. */
  image: number;
  /** Of a PDF: which page of the document, counted from 1. */
  page?: number;
  /**
   * Left, top, right, bottom in pixels of the original picture, after its EXIF orientation; in a PDF, of the page at the
   * `dpi` that was asked for.
   */
  box: readonly [left: number, top: number, right: number, bottom: number];
  /** What the model calls it, where it answers in JSON that names it. */
  label?: string | undefined;
}

/** Something that the caller should know although the request goes on. */
export interface Warning {
  code: WarningCode;
  message: string;
}

/** What has been generated so far. An error carries it as `partial`. */
export interface PartialResult {
  /** The answer, without its tags. */
  text: string;
  /** The thinking, without its tags. */
  thinking: string;
  boxes: readonly Box[];
  /** Everything as the model wrote it, special tokens included. */
  raw: string;
  /** The generated ids, the stop token included. */
  tokenIds: readonly number[];
  requestId: string;
  /** The seed used: the caller's, or a drawn one. */
  seed: number;
  warnings: readonly Warning[];
}
