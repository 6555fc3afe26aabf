type Json = string | number | boolean | null | readonly Json[] | { readonly [key: string]: Json };

/** An object or array that is open still. `key` is the one whose value comes next. */
type Frame =
  | { kind: "object"; value: Record<string, Json>; key: string | undefined }
  | { kind: "array"; value: Json[] };

const escapes = new Map([
  ["b", "\b"],
  ["f", "\f"],
  ["n", "\n"],
  ["r", "\r"],
  ["t", "\t"],
]);

/**
 * JSON while it is written. What it gives only grows: texts become longer, arrays and objects gain members, and nothing
 * that was given changes. So a number is not there before what follows it, a key not before its value, and half an
 * escape not at all. Takes each character once; of text that is no JSON, or has a number that JavaScript cannot hold, it
 * gives what came before.
 */
export class PartialJson {
  readonly #open: Frame[] = [];
  #root: Json | undefined;
  /** The characters of a number or a word so far. */
  #word = "";
  /** The text that is open, and what of it may still be half an escape or half a character. */
  #text: string | undefined;
  #escape = "";
  #grown = false;
  #broken = false;

  /** Takes more of the JSON. */
  push(piece: string): void {
    for (const character of piece) {
      if (this.#broken) return;
      if (this.#text !== undefined) this.#inText(character);
      else this.#outsideText(character);
    }
  }

  /** What there is, if that is more than at the last call. What has been given is never changed. */
  grown(): Json | undefined {
    if (!this.#grown) return undefined;
    this.#grown = false;
    let value = this.#open.length === 0 && this.#text === undefined ? this.#root : this.#openText();
    for (const frame of this.#open.toReversed()) value = withMember(frame, value);
    return value;
  }

  get #atKey(): boolean {
    const top = this.#open.at(-1);
    return top?.kind === "object" && top.key === undefined;
  }

  /** Undefined for a key, which is nothing yet. */
  #openText(): string | undefined {
    if (this.#text === undefined || this.#atKey) return undefined;
    // Half a character stays back until its other half is there.
    return /[\ud800-\udbff]$/.test(this.#text) ? this.#text.slice(0, -1) : this.#text;
  }

  #outsideText(character: string): void {
    if (/[-+.0-9a-zA-Z]/.test(character)) {
      this.#word += character;
      return;
    }
    this.#endWord();
    switch (character) {
      case '"':
        this.#text = "";
        this.#grown ||= !this.#atKey;
        return;
      case "{":
        this.#open.push({ kind: "object", value: {}, key: undefined });
        this.#grown = true;
        return;
      case "[":
        this.#open.push({ kind: "array", value: [] });
        this.#grown = true;
        return;
      case "}":
      case "]": {
        const closed = this.#open.pop();
        if (closed === undefined) this.#broken = true;
        else this.#give(closed.value);
        return;
      }
      default:
        if (!/[\s:,]/.test(character)) this.#broken = true;
    }
  }

  #endWord(): void {
    if (this.#word === "") return;
    const word = this.#word;
    this.#word = "";
    const value = parsed(word);
    this.#broken = value === undefined;
    if (value === undefined) return;
    this.#give(value);
    this.#grown = true;
  }

  #inText(character: string): void {
    if (this.#escape !== "") this.#inEscape(character);
    else if (character === "\\") this.#escape = character;
    else if (character === '"') this.#endText();
    else this.#write(character);
  }

  #write(character: string): void {
    this.#text += character;
    this.#grown ||= !this.#atKey;
  }

  #inEscape(character: string): void {
    this.#escape += character;
    const [, letter = "", ...digits] = this.#escape;
    if (letter !== "u") {
      this.#write(escapes.get(letter) ?? letter);
      this.#escape = "";
    } else if (digits.length === 4) {
      this.#write(String.fromCharCode(Number.parseInt(digits.join(""), 16)));
      this.#escape = "";
    }
  }

  #endText(): void {
    const text = this.#text ?? "";
    const top = this.#open.at(-1);
    this.#text = undefined;
    if (top?.kind === "object" && top.key === undefined) top.key = text;
    else this.#give(text);
  }

  /** A value is complete. */
  #give(value: Json): void {
    const top = this.#open.at(-1);
    if (top === undefined) this.#root = value;
    else if (top.kind === "array") top.value.push(value);
    else if (top.key !== undefined) {
      // Assigned, a key of this name would set the object's prototype.
      Object.defineProperty(top.value, top.key, { value, enumerable: true, writable: true, configurable: true });
      top.key = undefined;
    }
  }
}

/** Undefined for what is no JSON, and for a number that JavaScript cannot hold. */
function parsed(word: string): Json | undefined {
  try {
    const value = JSON.parse(word) as Json;
    return value === Number.POSITIVE_INFINITY || value === Number.NEGATIVE_INFINITY ? undefined : value;
  } catch {
    return undefined;
  }
}

/** A copy, with the member that is not complete, if there is one. */
function withMember(frame: Frame, member: Json | undefined): Json {
  if (frame.kind === "array") return member === undefined ? [...frame.value] : [...frame.value, member];
  return member === undefined || frame.key === undefined ? { ...frame.value } : { ...frame.value, [frame.key]: member };
}
