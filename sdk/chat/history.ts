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
  const earlier = messages.map(keptMessage);
  for (const [index, message] of earlier.entries()) readMessage(message, `chat(): messages[${index}]`, []);
  const first: Message[] = system === undefined ? [] : [keptMessage({ role: "system", content: system })];
  return Object.freeze([...first, ...earlier]);
}

/**
 * A message that nobody can change any more; one that was saved becomes one that can be sent. What is no message is left
 * as it is, to be refused by its place.
 */
function keptMessage(message: Message | SavedMessage): Message {
  if (!isRecord(message as unknown)) return message as Message;
  const { content } = message;
  const items: string | readonly (Content | SavedContent)[] = content;
  const kept = Array.isArray(items) ? Object.freeze(items.map((item) => Object.freeze(keptContent(item)))) : items;
  return Object.freeze({ ...message, content: kept as Message["content"] });
}

function keptContent(content: Content | SavedContent): Content {
  if (isSaved(content)) return restored(content);
  switch (content?.type) {
    case "image":
      return "image" in content ? { type: "image", image: kept(image, content.image) } : { ...content };
    case "pdf":
      return "pdf" in content ? { type: "pdf", pdf: kept(pdf, content.pdf) } : { ...content };
    case "video":
      return "video" in content ? { type: "video", video: kept(video, content.video) } : { ...content };
    default:
      return isRecord(content) ? { ...content } : content;
  }
}

/** What is no medium is left as it is, to be refused by its place. */
function kept<Given, Ref>(name: (source: Given) => Ref, source: Given): Given | Ref {
  try {
    return name(source);
  } catch {
    return source;
  }
}
