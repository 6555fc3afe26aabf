// Turns Glimpse's diagnostics channels into OpenTelemetry spans with the names of its conventions for generative models.
// Register an OpenTelemetry SDK before it, as your program does already: node --import ./telemetry.js …
// Run it with: npx tsx examples/otel.ts
import { subscribe } from "node:diagnostics_channel";
import { join } from "node:path";
import { type Attributes, context, type Span, SpanKind, SpanStatusCode, type Tracer, trace } from "@opentelemetry/api";
import { type ChannelMessages, launch } from "../sdk/index.ts";

function on<Name extends keyof ChannelMessages>(name: Name, hear: (message: ChannelMessages[Name]) => void): void {
  subscribe(name, (message) => hear(message as ChannelMessages[Name]));
}

function traceGlimpse(tracer: Tracer): void {
  const spans = new Map<string, Span>();
  on("glimpse:request:start", ({ requestId, model = "unknown" }) => {
    const attributes = {
      "gen_ai.operation.name": "chat",
      "gen_ai.provider.name": "glimpse",
      "gen_ai.request.model": model,
    };
    // Published in the context of the call: the caller's span is the parent.
    spans.set(requestId, tracer.startSpan(`chat ${model}`, { kind: SpanKind.CLIENT, attributes }, context.active()));
  });
  on("glimpse:request:submit", ({ requestId, options }) => {
    const asked: Attributes = { "gen_ai.request.seed": options.seed };
    if (options.temperature !== undefined) asked["gen_ai.request.temperature"] = options.temperature;
    if (options.topP !== undefined) asked["gen_ai.request.top_p"] = options.topP;
    if (options.topK !== undefined) asked["gen_ai.request.top_k"] = options.topK;
    if (options.maxNewTokens !== undefined) asked["gen_ai.request.max_tokens"] = options.maxNewTokens;
    if (options.stop !== undefined) asked["gen_ai.request.stop_sequences"] = options.stop;
    spans.get(requestId)?.setAttributes(asked);
  });
  on("glimpse:request:first-token", ({ requestId }) => spans.get(requestId)?.addEvent("first token"));
  on("glimpse:request:end", ({ requestId, result: { finishReason, usage } }) => {
    spans.get(requestId)?.setAttributes({
      "gen_ai.response.id": requestId,
      "gen_ai.response.finish_reasons": [finishReason],
      "gen_ai.usage.input_tokens": usage.promptTokens,
      "gen_ai.usage.cache_read.input_tokens": usage.cachedTokens,
      "gen_ai.usage.output_tokens": usage.completionTokens,
    });
    spans.get(requestId)?.end();
    spans.delete(requestId);
  });
  on("glimpse:request:error", ({ requestId, error }) => {
    spans.get(requestId)?.setAttribute("error.type", error.code);
    spans.get(requestId)?.setStatus({ code: SpanStatusCode.ERROR, message: error.message });
    spans.get(requestId)?.end();
    spans.delete(requestId);
  });
}

traceGlimpse(trace.getTracer("glimpse"));

await using glm = await launch();
const picture = join(import.meta.dirname, "pictures", "shapes.png");
const { text } = await glm.caption(picture, { seed: 7 });
console.log(text);
await glm.caption("no-such-picture.png").catch(({ code }) => console.log(code));
