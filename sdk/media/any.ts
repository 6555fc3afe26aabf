import { kindOf } from "./format.ts";
import { type ImageRef, imageOf, imageRef } from "./image.ts";
import { type PdfRef, pdfOf, pdfRef } from "./pdf.ts";
import { type ReadContext, readBytes } from "./read.ts";
import { type Source, sourceLabel, toSource } from "./source.ts";
import { type VideoRef, videoOf, videoRef } from "./video.ts";

export type AnyMedium =
  | { kind: "image"; image: ImageRef }
  | { kind: "video"; video: VideoRef }
  | { kind: "pdf"; pdf: PdfRef };

/** Reads what is behind a path or URL, and tells by the bytes what it is; a picture, if they are none of the kinds. */
export async function readAny(address: string, context: ReadContext): Promise<AnyMedium> {
  const named = toSource(address, "input");
  const name = sourceLabel(named, "input");
  // Under the limits of the largest kind; those of its own follow when it is known.
  const data = await readBytes("video", named, name, context);
  const source: Source = { kind: "bytes", data, owned: true, name };
  switch (kindOf(data)) {
    case "video":
      return { kind: "video", video: videoRef(videoOf(source)) };
    case "pdf":
      return { kind: "pdf", pdf: pdfRef(pdfOf(source)) };
    default:
      return { kind: "image", image: imageRef(imageOf(source)) };
  }
}
