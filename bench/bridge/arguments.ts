import { parseArgs } from "node:util";

export interface BatchArguments {
  model: string;
  device: string;
  streams: number;
  /** Of each prompt. */
  characters: number;
  newTokens: number;
  repetitions: number;
}

/** The command line of a bench that asks batches. */
export function readArguments(): BatchArguments {
  const { values } = parseArgs({
    options: {
      model: { type: "string", default: "embedded" },
      device: { type: "string", default: "cpu" },
      streams: { type: "string", default: "64" },
      "prompt-characters": { type: "string", default: "128" },
      "new-tokens": { type: "string", default: "512" },
      repetitions: { type: "string", default: "5" },
    },
  });
  return {
    model: values.model,
    device: values.device,
    streams: Number(values.streams),
    characters: Number(values["prompt-characters"]),
    newTokens: Number(values["new-tokens"]),
    repetitions: Number(values.repetitions),
  };
}
