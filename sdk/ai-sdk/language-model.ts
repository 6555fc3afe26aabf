import type { LanguageModelV3, LanguageModelV3GenerateResult, LanguageModelV3StreamResult } from "@ai-sdk/provider";
import type { AnyInput } from "../request/input.ts";
import type { GenerateResult } from "../result.ts";
import { type CallOptions, toCall } from "./call-options.ts";
import { invalidResult, toAiError } from "./errors.ts";
import { providerName } from "./provider-options.ts";
import { toContent, toFinishReason, toMetadata, toUsage, toWarning } from "./result.ts";
import { openStream, type Running } from "./stream.ts";

/** A client, as what does not depend on whether an answer has a schema sees it. */
export interface AnsweringClient {
  generate(input: AnyInput): Promise<GenerateResult>;
  stream(input: AnyInput): Running;
}

const http = [/^https?:/i];

export class GlimpseLanguageModel implements LanguageModelV3 {
  readonly specificationVersion = "v3";
  readonly provider = providerName;
  readonly modelId: string;
  /** Fetched by Glimpse, which goes to no private address but those of `allowHosts`. */
  readonly supportedUrls: Record<string, RegExp[]> = { "image/*": http, "video/*": http, "application/pdf": http };
  readonly #client: AnsweringClient;

  constructor(client: AnsweringClient, modelId: string) {
    this.#client = client;
    this.modelId = modelId;
  }

  async doGenerate(options: CallOptions): Promise<LanguageModelV3GenerateResult> {
    const { input, warnings } = toCall(options);
    const timestamp = new Date();
    const result = await this.#answer(input);
    return {
      content: toContent(result),
      finishReason: toFinishReason(result.finishReason),
      usage: toUsage(result.usage),
      providerMetadata: toMetadata(result),
      warnings: [...warnings, ...result.warnings.map(toWarning)],
      response: { id: result.requestId, modelId: this.modelId, timestamp },
    };
  }

  async #answer(input: AnyInput): Promise<GenerateResult> {
    try {
      return await this.#client.generate(input);
    } catch (error) {
      const result = invalidResult(error);
      if (result === undefined) throw toAiError(error);
      return result;
    }
  }

  async doStream(options: CallOptions): Promise<LanguageModelV3StreamResult> {
    const { input, warnings } = toCall(options);
    const running = this.#client.stream(input);
    const { modelId } = this;
    const includeRawChunks = options.includeRawChunks ?? false;
    return { stream: await openStream(running, { modelId, warnings, includeRawChunks }) };
  }
}
