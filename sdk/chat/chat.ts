import { GlimpseError } from "../../protocol/errors.ts";
import { invalid, isRecord, refuseUnknownKeys } from "../invalid.ts";
import type { RequestObserver } from "../observe/observer.ts";
import type { InferInput, InferOutput, OutputSchema } from "../output/schema.ts";
import type { AnyInput, Content, Message, StructuredInput } from "../request/input.ts";
import { type GenerateOptions, optionNames, parseOptions } from "../request/options.ts";
import type { GenerateResult } from "../result.ts";
import type { GenerationStream } from "../stream.ts";
import type { StructuredStream } from "../structured-stream.ts";
import { earlierTurns, type TurnMedia, userTurn } from "./history.ts";
import { type SavedMessage, savedMessage } from "./saved.ts";

/** The options of every turn, and what has been said before. */
export interface ChatOptions extends Omit<GenerateOptions, "signal"> {
  /** Becomes the first message. */
  system?: string | undefined;
  /** Earlier turns, as `chat.messages` or `chat.toJSON()` gave them. */
  messages?: readonly (Message | SavedMessage)[] | undefined;
}

/** Options that hold for this turn, and the media that come before its text. */
export type TurnOptions = GenerateOptions & TurnMedia & { output?: undefined };

/** The same, with a schema for the answer to this turn. */
export type StructuredTurnOptions<Schema extends OutputSchema> = Omit<GenerateOptions, "stop"> &
  TurnMedia &
  Pick<StructuredInput<Schema>, "output" | "stop">;

/** Of a whole conversation: a signal is for one turn. */
const turnOptions = optionNames.filter((name) => name !== "signal");

export type SendRequest = (input: AnyInput, observer: RequestObserver) => GenerationStream | StructuredStream<unknown>;

/**
 * A conversation. Its history has the answers without their thinking, as the model's authors ask, so that each turn begins
 * with what the engine has computed already (`usage.cachedTokens`).
 */
export class Chat {
  readonly #sendRequest: SendRequest;
  readonly #options: Omit<GenerateOptions, "signal">;
  #messages: readonly Message[];
  #running = false;

  /** @throws GlimpseError INVALID_REQUEST when an option or an earlier message is none. */
  constructor(sendRequest: SendRequest, given: ChatOptions) {
    if (!isRecord(given as unknown)) throw invalid("chat()", "an object of options", given);
    const { system, messages = [], ...options } = given;
    if (!Array.isArray(messages)) throw invalid("chat(): messages", "an array of messages", messages);
    if ("output" in options && options.output !== undefined) {
      throw invalid("chat(): output", "it in send() only, for the answer to one turn", options.output);
    }
    refuseUnknownKeys(options, ["system", "messages", ...turnOptions], "chat()");
    parseOptions(options);
    this.#sendRequest = sendRequest;
    this.#options = options;
    this.#messages = earlierTurns(system, messages);
  }

  /**
   * What has been said and answered so far; a turn that is under way is not part of it. May be passed to `generate()`.
   * JSON cannot hold the media in it: `JSON.stringify(chat)` keeps them.
   */
  get messages(): readonly Message[] {
    return this.#messages;
  }

  /**
   * Says `prompt`, a text or content in the format of messages, and returns the stream of the answer. Both become part of
   * the history when the answer has ended; a turn that fails, is aborted or cancelled, or that spends all its tokens on
   * thinking, leaves it as it was. With a schema as `output` this one answer is held to it, and is in the history as JSON.
   * @throws GlimpseError INVALID_REQUEST while an earlier turn is under way, and for what is no prompt or no medium.
   */
  send<Schema extends OutputSchema>(
    prompt: string | readonly Content[],
    options: StructuredTurnOptions<Schema>,
  ): StructuredStream<InferOutput<Schema>, InferInput<Schema>>;
  send(prompt: string | readonly Content[], options?: TurnOptions): GenerationStream;
  send(
    prompt: string | readonly Content[],
    options: TurnOptions | StructuredTurnOptions<OutputSchema> = {},
  ): GenerationStream | StructuredStream<unknown> {
    if (this.#running) {
      throw new GlimpseError("INVALID_REQUEST", "chat.send(): expected one turn at a time, got a second one", {
        hint: "Await the `result` of the first, or fork() the chat.",
      });
    }
    if (!isRecord(options as unknown)) throw invalid("chat.send()", "an object of options", options);
    const { images, pdf, video, ...own } = options;
    if ("messages" in own && own.messages !== undefined) {
      throw invalid("chat.send(): messages", "none beside those of the chat", own.messages);
    }
    const turn = userTurn(prompt, { images, pdf, video });
    this.#running = true;
    const input = { ...this.#options, ...withoutUndefined(own), messages: [...this.#messages, turn] };
    // An observer hears of the ending before the caller, who may send the next turn at once.
    return this.#sendRequest(input as AnyInput, {
      finished: ({ result }) => this.#end(turn, result),
      failed: () => this.#end(turn),
    });
  }

  /** A second conversation with the same past. Neither hears of what the other says from now on. */
  fork(): Chat {
    return new Chat(this.#sendRequest, { ...this.#options, messages: this.#messages });
  }

  /**
   * What `glm.chat()` needs to go on with this conversation, also in another process: media are paths, URLs or base64.
   * @throws GlimpseError INVALID_REQUEST when there is a Blob or a stream in it.
   */
  toJSON(): ChatOptions {
    return { ...this.#options, messages: this.#messages.map(savedMessage) };
  }

  #end(turn: Message, result?: GenerateResult): void {
    this.#running = false;
    if (result === undefined || result.finishReason === "cancelled" || result.text === "") return;
    const answer: Message = { role: "assistant", content: result.text };
    this.#messages = Object.freeze([...this.#messages, turn, Object.freeze(answer)]);
  }
}

function withoutUndefined<Options extends object>(options: Options): Partial<Options> {
  return Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined)) as Partial<Options>;
}
