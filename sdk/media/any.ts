import { checkFormat, kindOf } from "./format.ts";
import { type ImageRef, imageOf, imageRef } from "./image.ts";
import { type PdfRef, pdfOf, pdfRef } from "./pdf.ts";
import { type ReadContext, readBytes } from "./read.ts";
import { type Source, sourceLabel, toSource } from "./source.ts";
import { type VideoRef, videoOf, videoRef } from "./video.ts";

export type AnyMedium =
  | { kind: "image"; image: ImageRef }
  | { kind: "video"; video: VideoRef }
  | { kind: "pdf"; pdf: PdfRef };

/** What the message about bytes of no kind says. */
const anyKind = "a PNG, JPEG, WebP or GIF, of an MP4, WebM or other video, or of a PDF";

/** Reads what is behind a path or URL, and tells by the bytes what it is. Rejects with IMAGE_UNREADABLE for none of the kinds. */
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
      checkFormat("image", data, name, anyKind);
      return { kind: "image", image: imageRef(imageOf(source)) };
  }
}
