export { createGlimpse, type GlimpseProvider } from "./provider.ts";
export type { GlimpseProviderOptions } from "./provider-options.ts";
