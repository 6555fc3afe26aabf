import type { TorchBuild } from "./torch-build.ts";

/** What a set-up does, in this order; `wait` is for another set-up in the same place. */
export type SetupStep = "wait" | "venv" | "pip" | "packages" | "torch" | "development" | "check";

/**
 * One step of a set-up: it starts, then makes progress, then is done. Every step that starts is done before the next
 * one starts, unless the set-up fails in it.
 */
export type SetupEvent =
  | {
      type: "start";
      step: SetupStep;
      /** For people: what is made or installed, and where. */
      title: string;
    }
  | {
      type: "progress";
      step: SetupStep;
      /** The file that is fetched or installed now. */
      detail: string;
      /** Bytes of that file that have arrived, and all of them, where they are downloaded. */
      done?: number;
      total?: number;
    }
  | {
      type: "done";
      step: SetupStep;
      /** How many files were installed, and their size in bytes as they were packed. */
      files: number;
      bytes: number;
    };

export interface SetupOptions {
  /** Which build of torch; by default that of the existing environment, else the one for this machine's GPU. */
  torch?: TorchBuild | undefined;
  /** Whether the packages that the tests and checks need are installed too. */
  development?: boolean | undefined;
  /** Whether an environment that claims to be complete is tried out, and made anew if it does not work. */
  verify?: boolean | undefined;
  /** Where the environment is or will be. Default: `environmentDirectory()`. */
  directory?: string | undefined;
  signal?: AbortSignal | undefined;
  onEvent?: ((event: SetupEvent) => void) | undefined;
}
