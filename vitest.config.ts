import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    include: ["test/**/*.test.ts"],
    // A process per file: tests start workers and change environment variables. One at a time: a worker fills two cores.
    pool: "forks",
    fileParallelism: false,
    // Loading torch and a model takes seconds on a busy machine.
    testTimeout: 60_000,
    hookTimeout: 120_000,
    dangerouslyIgnoreUnhandledErrors: false,
    allowOnly: false,
    unstubEnvs: true,
  },
});
