import { GlimpseError } from "../../protocol/errors.ts";
import type { DataFromWorker, Part } from "../../protocol/messages.ts";

type Item = (DataFromWorker & { type: "tokens" })["items"][number];

export interface News {
  ids: readonly number[];
  parts: readonly Part[];
}

/**
 * What the caller of one request has, over all its attempts. Text is a pure function of the ids, so an attempt that begins
 * again and draws the same ids writes the same text, if not in the same pieces: as many characters and boxes as the
 * caller has are left out.
 */
export class Delivery {
  readonly ids: number[] = [];
  /** Between the first and the last token of each attempt that was interrupted. */
  lostMs = 0;
  #characters = 0;
  #boxes = 0;
  #resumes = false;
  /** How many ids, characters and boxes of this attempt have come. */
  #ids = 0;
  #seenCharacters = 0;
  #seenBoxes = 0;
  #firstAt: number | undefined;
  #lastAt = 0;

  /** The ids after which the next attempt goes on. */
  get resumesAfter(): readonly number[] {
    return this.#resumes ? this.ids : [];
  }

  /** Whether the present attempt has not come to where the caller is. */
  get isBehind(): boolean {
    return this.#ids < this.ids.length;
  }

  /** The attempt has ended early. The next one goes on after what the caller has, or begins again. */
  interrupt(resumes: boolean): void {
    this.#resumes = resumes;
    this.lostMs += this.#firstAt === undefined ? 0 : this.#lastAt - this.#firstAt;
    this.#firstAt = undefined;
    this.#ids = resumes ? this.ids.length : 0;
    this.#seenCharacters = resumes ? this.#characters : 0;
    this.#seenBoxes = resumes ? this.#boxes : 0;
  }

  /**
   * What of `item` the caller does not have; `differs` when it is not what an earlier attempt has delivered.
   * @throws GlimpseError PROTOCOL_ERROR when a token is missing or comes twice.
   */
  take(request: string, item: Item): News | "differs" {
    if (item.index !== this.#ids) {
      throw new GlimpseError(
        "PROTOCOL_ERROR",
        `request ${request}: expected token ${this.#ids}, the worker sent ${item.index}`,
      );
    }
    const known = this.ids.slice(this.#ids, this.#ids + item.ids.length);
    if (known.some((id, index) => id !== item.ids[index])) return "differs";
    const ids = item.ids.slice(known.length);
    for (const id of ids) this.ids.push(id);
    this.#ids += item.ids.length;
    this.#lastAt = performance.now();
    if (item.ids.length > 0) this.#firstAt ??= this.#lastAt;
    return { ids, parts: item.parts.flatMap((part) => this.#part(part)) };
  }

  #part(part: Part): readonly Part[] {
    if (part.kind === "box") {
      this.#seenBoxes += 1;
      if (this.#seenBoxes <= this.#boxes) return [];
      this.#boxes = this.#seenBoxes;
      return [part];
    }
    const begin = this.#seenCharacters;
    this.#seenCharacters += part.text.length;
    if (this.#seenCharacters <= this.#characters) return [];
    const text = part.text.slice(Math.max(0, this.#characters - begin));
    this.#characters = this.#seenCharacters;
    return text === "" ? [] : [{ ...part, text }];
  }
}
