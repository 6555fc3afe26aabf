import { describe, expect, test, vi } from "vitest";
import { reportFailure } from "../../cli/failure.ts";
import { GlimpseError } from "../../protocol/errors.ts";

/** What the command says of `error` on stderr. */
function said(error: unknown): string {
  const write = vi.spyOn(process.stderr, "write").mockReturnValue(true);
  try {
    reportFailure(error);
    return write.mock.calls.map(([text]) => text).join("");
  } finally {
    write.mockRestore();
  }
}

describe("a failure", () => {
  const cause = "Segmentation fault (core dumped)";
  const error = new GlimpseError("WORKER_LOST", "the worker ended", { hint: "Look at its log.", cause });

  test("is its message and hint", () => {
    vi.stubEnv("GLIMPSE_DEBUG", "");
    expect(said(error)).toBe("glimpse: the worker ended\n  Look at its log.\n");
  });

  test("with GLIMPSE_DEBUG shows where it happened and what lay beneath, be that a text", () => {
    vi.stubEnv("GLIMPSE_DEBUG", "1");
    expect(said(error)).toMatch(/\n +at [\s\S]*caused by:\nSegmentation fault \(core dumped\)\n$/);
    expect(said(new Error("no", { cause: { exitCode: 78 } }))).toContain("caused by:\n{ exitCode: 78 }");
  });
});
