import { type LanguageModelV3, NoSuchModelError, type ProviderV3 } from "@ai-sdk/provider";
import type { Glimpse } from "../client.ts";
import { GlimpseLanguageModel } from "./language-model.ts";

/** A provider of the AI SDK. Callable, as providers are; the id may be left out, as there is one model. */
export interface GlimpseProvider extends ProviderV3 {
  (modelId?: string): LanguageModelV3;
  /** @throws NoSuchModelError when the client runs another model. */
  languageModel(modelId?: string): LanguageModelV3;
}

/**
 * Makes a running model one for the AI SDK, as a model of specification v3, which `ai` 6 and 7 take. The client stays the
 * caller's to close. Errors are GlimpseErrors; those that are worth another try come as an APICallError with the
 * GlimpseError as its cause, because these are what `maxRetries` repeats.
 */
export function createGlimpse(client: Pick<Glimpse, "generate" | "stream" | "workers">): GlimpseProvider {
  const languageModel = (modelId?: string): LanguageModelV3 => {
    const running = client.workers().find(({ model }) => model !== undefined)?.model;
    if (modelId !== undefined && running !== undefined && modelId !== running) {
      throw new NoSuchModelError({
        modelId,
        modelType: "languageModel",
        message: `modelId: expected ${JSON.stringify(running)}, which the workers run, or nothing, got ${JSON.stringify(modelId)}`,
      });
    }
    return new GlimpseLanguageModel(client, modelId ?? running ?? "glm-4.1v");
  };
  const none = (modelType: "embeddingModel" | "imageModel") => (modelId: string) => {
    throw new NoSuchModelError({ modelId, modelType, message: `Glimpse has no ${modelType}: GLM-4.1V writes text` });
  };
  return Object.assign(languageModel.bind(undefined), {
    specificationVersion: "v3" as const,
    languageModel,
    embeddingModel: none("embeddingModel"),
    imageModel: none("imageModel"),
  });
}
