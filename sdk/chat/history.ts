import { isRecord } from "../invalid.ts";
import { type ImageSource, image } from "../media/image.ts";
import { type PdfSource, pdf } from "../media/pdf.ts";
import { type VideoSource, video } from "../media/video.ts";
import { readContent, readMediaOptions, readMessage } from "../request/conversation.ts";
import type { Content, Message } from "../request/input.ts";
import { isSaved, restored, type SavedContent, type SavedMessage } from "./saved.ts";

export interface TurnMedia {
  images?: readonly ImageSource[] | undefined;
  pdf?: PdfSource | undefined;
  video?: VideoSource | undefined;
}

/**
 * A turn of the user, as it is kept: whatever its caller does with the bytes and lists later changes nothing.
 * @throws GlimpseError INVALID_REQUEST when it is none, in the names of `chat.send()`.
 */
export function userTurn(prompt: string | readonly Content[], media: TurnMedia): Message {
  readContent(prompt, "chat.send(): prompt", "user", []);
  readMediaOptions({ ...media }, []);
  const content: Content[] = (media.images ?? []).map((source) => ({ type: "image", image: source }));
  if (media.pdf !== undefined) content.push({ type: "pdf", pdf: media.pdf });
  if (media.video !== undefined) content.push({ type: "video", video: media.video });
  const said: readonly Content[] = isContent(prompt) ? prompt : [{ type: "text", text: prompt }];
  return keptMessage({ role: "user", content: [...content, ...said] });
}

function isContent(prompt: string | readonly Content[]): prompt is readonly Content[] {
  return Array.isArray(prompt);
}

/**
 * What has been said before a chat begins, in the same way; messages that were saved become such as can be sent.
 * @throws GlimpseError INVALID_REQUEST when one is none, in the names of `glm.chat()`.
 */
export function earlierTurns(
  system: string | undefined,
  messages: readonly (Message | SavedMessage)[],
): readonly Message[] {
  if (system !== undefined) readContent(system, "chat(): system", "system", []);
  const earlier = messages.map(restoredMessage);
  for (const [index, message] of earlier.entries()) readMessage(message, `chat(): messages[${index}]`, []);
  const first: Message[] = system === undefined ? [] : [{ role: "system", content: system }];
  return Object.freeze([...first, ...earlier].map(keptMessage));
}

/** A message whose media can be sent, if it was a message. */
function restoredMessage(message: Message | SavedMessage): Message {
  const items: unknown = isRecord(message as unknown) ? message.content : undefined;
  if (!Array.isArray(items)) return message as Message;
  return { ...message, content: items.map((item: Content | SavedContent) => (isSaved(item) ? restored(item) : item)) };
}

/** A good message that nobody can change any more. */
function keptMessage({ role, content }: Message): Message {
  if (typeof content === "string") return Object.freeze({ role, content });
  return Object.freeze({ role, content: Object.freeze(content.map((item) => Object.freeze(keptContent(item)))) });
}

function keptContent(content: Content): Content {
  switch (content.type) {
    case "image":
      return "image" in content && content.image !== undefined
        ? { type: "image", image: image(content.image) }
        : { ...content };
    case "pdf":
      return "pdf" in content && content.pdf !== undefined ? { type: "pdf", pdf: pdf(content.pdf) } : { ...content };
    case "video":
      return "video" in content && content.video !== undefined
        ? { type: "video", video: video(content.video) }
        : { ...content };
    case "text":
      return { ...content };
    default:
      return content satisfies never;
  }
}
