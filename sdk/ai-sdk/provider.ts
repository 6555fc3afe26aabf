import { basename, isAbsolute } from "node:path";
import { type LanguageModelV3, NoSuchModelError, type ProviderV3 } from "@ai-sdk/provider";
import type { Glimpse } from "../client.ts";
import { GlimpseLanguageModel } from "./language-model.ts";

/**
 * A provider of the AI SDK. Callable, as providers are. The id may be left out, as there is one model; it is that of the
 * hub, or the name of the checkpoint's directory.
 */
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
    const running = client.workers().flatMap(({ model }) => (model === undefined ? [] : [nameOf(model)]))[0];
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

/** An id as it is; of a directory its name, as where it lies on this machine is nobody's business in telemetry. */
function nameOf(model: string): string {
  return isAbsolute(model) ? basename(model) : model;
}
