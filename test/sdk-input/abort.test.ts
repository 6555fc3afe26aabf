import { getEventListeners } from "node:events";
import { describe, expect, it, vi } from "vitest";
import { followSignal, onAbort, orAborted } from "../../sdk/abort.ts";

const reason = new Error("the user went away");

describe("following a signal", () => {
  it("takes one listener, however many follow it, and none when all have let go", () => {
    const { signal } = new AbortController();
    const letGo = Array.from({ length: 100 }, () => onAbort(signal, () => {}));
    expect(getEventListeners(signal, "abort")).toHaveLength(1);
    for (const release of letGo.slice(1)) release();
    expect(getEventListeners(signal, "abort")).toHaveLength(1);
    letGo[0]?.();
    expect(getEventListeners(signal, "abort")).toHaveLength(0);
  });

  it("calls each that has not let go, once, and of two with the same function both", () => {
    const controller = new AbortController();
    const [kept, left] = [vi.fn(), vi.fn()];
    onAbort(controller.signal, kept);
    onAbort(controller.signal, kept);
    const letGo = onAbort(controller.signal, left);
    letGo();
    letGo();
    controller.abort();
    controller.abort();
    expect([kept.mock.calls.length, left.mock.calls.length]).toEqual([2, 0]);
  });

  it("works again after all had let go", () => {
    const controller = new AbortController();
    onAbort(controller.signal, () => {})();
    const callback = vi.fn();
    onAbort(controller.signal, callback);
    controller.abort();
    expect(callback).toHaveBeenCalledOnce();
  });

  it("that has fired calls nobody; a controller that follows it has fired too", () => {
    const signal = AbortSignal.abort(reason);
    const callback = vi.fn();
    onAbort(signal, callback)();
    expect(callback).not.toHaveBeenCalled();
    expect(followSignal(signal).controller.signal.reason).toBe(reason);
  });

  it("ends what waits for other work", async () => {
    const controller = new AbortController();
    const waiting = orAborted(new Promise(() => {}), controller.signal);
    controller.abort(reason);
    await expect(waiting).rejects.toBe(reason);
    await expect(orAborted(Promise.resolve(1), controller.signal)).rejects.toBe(reason);
  });
});
