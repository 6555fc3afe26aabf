import { expect, test } from "vitest";
import type { WorkerEvent } from "../../orchestrator/events.ts";
import { Subscribers } from "../../orchestrator/subscribers.ts";

const event: WorkerEvent = { type: "log", worker: "worker-0", stream: "stderr", line: "hello" };

test("one that leaves while an event is told hears nothing more, nor do those that it takes with it", () => {
  const subscribers = new Subscribers();
  const heard: string[] = [];
  const stops = [
    subscribers.add(() => {
      heard.push("first");
      for (const stop of stops) stop();
    }),
    subscribers.add(() => heard.push("second")),
  ];
  subscribers.tell(event);
  subscribers.tell(event);
  expect(heard).toEqual(["first"]);
});

test("one that comes while an event is told hears of the next", () => {
  const subscribers = new Subscribers();
  let heard = 0;
  const hearOnce = (): void => {
    const stop = subscribers.add(() => {
      heard += 1;
      stop();
      hearOnce();
    });
  };
  hearOnce();
  subscribers.tell(event);
  expect(heard).toBe(1);
  subscribers.tell(event);
  expect(heard).toBe(2);
});
