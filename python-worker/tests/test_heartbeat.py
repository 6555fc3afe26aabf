"""What the orchestrator learns of a worker that loads, computes, or hangs."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from itertools import pairwise
from types import SimpleNamespace

import pytest
from boards import CIRCLE, HELLO, Launch, board
from embedded import Answer, caller, user
from worker_process import PATIENCE_S, WorkerProcess, items, text_of

from glimpse_worker.engine.interface import Load
from glimpse_worker.engine.pulse import DeviceMemory, Pulse
from glimpse_worker.heartbeat import Heartbeats
from glimpse_worker.protocol import DataFromWorker, Heartbeat, Hello, Ready

Spawn = Callable[..., WorkerProcess]
OFTEN_MS = 20


def test_a_worker_that_hangs_while_it_loads_says_for_how_long(spawn: Spawn) -> None:
    worker = spawn(load="hang", heartbeatMs=OFTEN_MS)
    worker.expect(Hello)
    heard = [worker.next_heartbeat() for _ in range(15)]
    assert {(h.phase, h.steps, h.running, h.waiting) for h in heard} == {("loading", 0, 0, 0)}
    intervals = [later.age_ms - earlier.age_ms for earlier, later in pairwise(heard)]
    # A busy machine may make some of them longer; if none were kept, all would be far from it.
    assert OFTEN_MS - 1 < min(intervals) < 2 * OFTEN_MS


def test_a_worker_whose_loading_gets_on_begins_to_count_anew(spawn: Spawn) -> None:
    worker = spawn(load="slow", heartbeatMs=OFTEN_MS)
    worker.expect(Hello)
    # Ten reports, a tenth of a second apart.
    ages: list[float] = []
    while not isinstance(message := worker.next_of_control(), Ready):
        if isinstance(message, Heartbeat) and message.phase == "loading":
            ages.append(message.age_ms)
    assert any(later < earlier for earlier, later in pairwise(ages))


def test_an_idle_worker_says_so_and_how_much_memory_it_holds(spawn: Spawn) -> None:
    worker = spawn(heartbeatMs=OFTEN_MS)
    worker.ready()
    heartbeat = worker.heartbeats_until(lambda heartbeat: heartbeat.phase == "idle")[-1]
    assert (heartbeat.steps, heartbeat.running, heartbeat.waiting) == (0, 0, 0)
    assert 8 * 1024**2 < heartbeat.memory.process < 1024**3
    assert (heartbeat.memory.used, heartbeat.memory.total) == (None, None)


def test_the_steps_are_those_that_brought_tokens(spawn: Spawn) -> None:
    worker = spawn(heartbeatMs=OFTEN_MS)
    worker.ready()
    key = worker.generate("normal 9")
    messages, _ = worker.until_end(key)
    steps = len(items(messages, key))
    heard = worker.heartbeats_until(lambda heartbeat: heartbeat.steps >= steps)
    assert (heard[-1].steps, heard[-1].running) == (steps, 0)


def hang(worker: WorkerProcess) -> int:
    """Asks for an answer that hangs after its first letter, and tells after how many steps that came."""
    key = worker.generate("hang 1")
    messages: list[DataFromWorker] = []
    while not text_of(messages, key):
        messages.append(worker.next_data())
    return len(items(messages, key))


def test_a_worker_whose_step_hangs_says_for_how_long_and_who_is_on_board(spawn: Spawn) -> None:
    worker = spawn(heartbeatMs=OFTEN_MS, engine={"kind": "scripted", "load": "normal", "slots": 1})
    worker.ready()
    steps = hang(worker)
    worker.generate("normal 1", request="r2")
    *_, first = worker.heartbeats_until(lambda h: h.steps == steps and h.phase == "step" and h.waiting == 1)
    heard = worker.heartbeats_until(lambda h: h.age_ms >= 5 * OFTEN_MS)
    assert {(h.phase, h.steps, h.running, h.waiting) for h in (first, *heard)} == {("step", steps, 1, 1)}
    ages = [heartbeat.age_ms for heartbeat in (first, *heard)]
    assert ages == sorted(ages)


def test_a_worker_that_hangs_shows_the_stacks_of_its_threads_when_it_is_asked(spawn: Spawn) -> None:
    worker = spawn(heartbeatMs=OFTEN_MS)
    worker.ready()
    steps = hang(worker)
    worker.heartbeats_until(lambda h: h.steps == steps and h.phase == "step" and h.age_ms >= 2 * OFTEN_MS)
    os.kill(worker.process.pid, signal.SIGUSR1)
    worker.heartbeats_until(lambda _: all(place in worker.log for place in ("play_fault", "_beat", "serve")))


def test_a_hang_in_the_admission_of_a_request_is_a_hanging_step(monkeypatch: pytest.MonkeyPatch) -> None:
    with board() as own:
        hanging, go_on = threading.Event(), threading.Event()
        admit = own.engine._admission.admit

        def hang(*arguments: object) -> object:
            hanging.set()
            assert go_on.wait(PATIENCE_S)
            return admit(*arguments)  # type: ignore[arg-type]

        monkeypatch.setattr(own.engine._admission, "admit", hang)
        answer = own.ask_about(HELLO, max_new_tokens=2)
        assert hanging.wait(PATIENCE_S)
        assert own.engine.pulse.reading.phase == "step"
        assert own.engine.load == Load(running=0, waiting=1)
        go_on.set()
        answer.wait()


def test_the_paged_engine_counts_its_steps_and_whom_it_has_on_board() -> None:
    seen: list[tuple[str, int, Load]] = []
    with board(max_running=1) as own:

        def note(_: Launch) -> None:
            seen.append((own.engine.pulse.reading.phase, own.engine.pulse.reading.steps, own.engine.load))

        own.before = note
        own.gather(2)
        answers = [own.ask_about(CIRCLE, max_new_tokens=3), own.ask_about(HELLO, max_new_tokens=2)]
        for answer in answers:
            answer.wait()
        own.close()
        assert [(phase, steps) for phase, steps, _ in seen] == [("step", step) for step in range(5)]
        assert [load for _, _, load in seen[1:]] == [Load(1, 1)] * 2 + [Load(1, 0)] * 2
        assert own.engine.load == Load(0, 0)


def test_the_reference_engine_counts_tokens_as_steps() -> None:
    engine = caller().engine
    before = engine.pulse.reading.steps
    seen: list[tuple[str, Load]] = []

    def note(_: Answer) -> None:
        seen.append((engine.pulse.reading.phase, engine.load))

    caller().submit([user("Hello")], max_new_tokens=3, on_token=note).wait()
    assert engine.pulse.reading.steps - before == 3
    assert set(seen) == {("step", Load(1, 0))}


def test_the_devices_memory_is_asked_for_between_steps_and_not_after_every_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = 100.0
    for module in ("engine.pulse", "heartbeat"):
        monkeypatch.setattr(f"glimpse_worker.{module}.time", SimpleNamespace(monotonic=lambda: now))
    asked: list[float] = []

    def measure() -> DeviceMemory:
        assert pulse is None or pulse.reading.phase == "idle"
        asked.append(now)
        return DeviceMemory(used=len(asked), total=10)

    pulse: Pulse | None = None
    pulse = Pulse(measure)
    heartbeats = Heartbeats(1000, lambda _: None)
    heartbeats.watch(SimpleNamespace(pulse=pulse, load=Load(3, 4)))
    for _ in range(8):
        pulse.begin()
        now += 0.3
        pulse.end()
    assert asked == [100.0, pytest.approx(101.2), pytest.approx(102.4)]
    pulse.begin()
    now += 5
    heartbeat = heartbeats.observe()
    assert (heartbeat.phase, heartbeat.steps) == ("step", 8)
    assert heartbeat.age_ms == pytest.approx(5000)
    assert (heartbeat.running, heartbeat.waiting) == (3, 4)
    assert (heartbeat.memory.used, heartbeat.memory.total) == (3, 10)
