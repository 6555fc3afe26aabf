"""A worker process as the library meets it: start, requests, faults, end."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import pytest
from worker_process import PATIENCE_S, Orchestrator, WorkerProcess, items, text_of

from glimpse_worker.engine.interface import Counter, Load
from glimpse_worker.engine.pulse import Pulse
from glimpse_worker.engine.scripted_count import ScriptedCounter
from glimpse_worker.protocol import (
    PROTOCOL_VERSION,
    BoxPart,
    Cancel,
    DataFromWorker,
    Done,
    Error,
    Failed,
    Fault,
    Frame,
    Generate,
    Hello,
    Loading,
    Ready,
    RequestKey,
    RequestPrepared,
    RequestWarning,
    ThinkingPart,
    Tokens,
    decode_data,
    decode_start,
)
from glimpse_worker.worker import Worker

Spawn = Callable[..., WorkerProcess]


def test_a_worker_says_hello_and_is_ready(spawn: Spawn) -> None:
    worker = spawn(model="some/model")
    hello = worker.expect(Hello)
    assert (hello.token, hello.generation, hello.pid) == ("one-time secret", 7, worker.process.pid)
    ready = worker.expect(Ready)
    assert (ready.engine, ready.model, ready.slots) == ("scripted", "some/model", 4)
    assert {"python", "msgspec"} <= set(ready.versions)


def test_a_request_streams_and_ends_once(worker: WorkerProcess) -> None:
    key = worker.generate("say A cat – 猫 🙂")
    messages, done = worker.until_end(key)
    prompt_tokens = len("say A cat – 猫 🙂".encode())
    assert messages[0] == RequestPrepared(
        request="r1", attempt=0, prompt_tokens=prompt_tokens, image_tokens=0
    )
    assert text_of(messages, key, ThinkingPart) == "I play a script."
    assert text_of(messages, key) == "A cat – 猫 🙂"
    assert isinstance(done, Done)
    assert done.finish_reason == "stop"
    ids = [token for item in items(messages, key) for token in item.ids]
    assert [item.index for item in items(messages, key)] == list(range(len(ids)))
    assert done.usage.completion_tokens == len(ids)
    assert done.usage.thinking_tokens == len("I play a script.") + 2
    assert done.usage.prompt_tokens == prompt_tokens


def test_pictures_travel_as_frames_and_boxes_come_back(worker: WorkerProcess) -> None:
    text = "say <|begin_of_box|>[0,0,500,999]<|end_of_box|>"
    media = [{"kind": "image", "bytes": 5}, {"kind": "video", "bytes": [1, 0], "fps": 2}]
    worker.send("data", worker.generate_frame(text, media=media), b"01234", b"0", b"")
    key = RequestKey("r1", 0)
    messages, done = worker.until_end(key)
    parts = [part for item in items(messages, key) for part in item.parts]
    boxes = [part for part in parts if isinstance(part, BoxPart)]
    assert boxes == [BoxPart(image=1, box=(0.0, 0.0, 500.0, 999.0))]
    warnings = [message.code for message in messages if isinstance(message, RequestWarning)]
    assert warnings == ["BOX_IMAGE_ASSUMED"]
    assert isinstance(done, Done)
    assert done.usage.image_tokens == 3


def test_requests_run_at_once(worker: WorkerProcess) -> None:
    # Each lasts ten seconds, so that none is over before the last has come.
    keys = [worker.generate("slow 500", request=f"r{number}") for number in range(4)]
    messages: list[DataFromWorker] = []
    while not all(text_of(messages, key) for key in keys):
        messages.append(worker.next_data())
        assert not isinstance(messages[-1], Done)


def test_a_fifth_request_waits_for_a_slot(spawn: Spawn) -> None:
    worker = spawn(heartbeatMs=20)
    worker.ready()
    running = [worker.generate("slow 5000", request=f"r{number}") for number in range(4)]
    begun: list[DataFromWorker] = []
    while not all(items(begun, key) for key in running):
        begun.append(worker.next_data())
    fifth = worker.generate("normal 5", request="fifth")
    worker.heartbeats_until(lambda heartbeat: heartbeat.waiting == 1)
    waits_from = time.monotonic()
    for _ in range(5):
        heartbeat = worker.next_heartbeat()
        assert (heartbeat.running, heartbeat.waiting) == (4, 1)
    waited_ms = 1000 * (time.monotonic() - waits_from)
    worker.cancel(running[2])
    messages, done = worker.until_end(fifth)
    [place] = [place for place, message in enumerate(messages) if isinstance(message, Done)]
    assert items(messages[:place], fifth) == []
    assert isinstance(done, Done)
    assert done.timing.queue_ms >= waited_ms


def test_a_script_has_as_many_slots_as_it_is_asked_for(spawn: Spawn) -> None:
    worker = spawn(engine={"kind": "scripted", "load": "normal", "slots": 5})
    assert worker.ready().slots == 5
    for number in range(4):
        worker.generate("slow 5000", request=f"r{number}")
    _, done = worker.until_end(worker.generate("normal 1", request="fifth"))
    assert isinstance(done, Done)


def test_cancel_ends_a_request_with_what_there_is(worker: WorkerProcess) -> None:
    key = worker.generate("slow 5000")
    messages: list[DataFromWorker] = []
    while not text_of(messages, key):
        messages.append(worker.next_data())
    worker.cancel(key)
    rest, done = worker.until_end(key)
    assert isinstance(done, Done)
    assert done.finish_reason == "cancelled"
    assert done.usage.completion_tokens == len(ids_of([*messages, *rest], key)) < 5000


def test_cancel_ends_a_request_that_waits(worker: WorkerProcess) -> None:
    running = [worker.generate("slow 5000", request=f"r{number}") for number in range(4)]
    waiting = worker.generate("normal 5", request="waiting")
    worker.cancel(waiting)
    _, done = worker.until_end(waiting)
    assert isinstance(done, Done)
    assert (done.finish_reason, done.usage.completion_tokens) == ("cancelled", 0)
    for key in running:
        worker.cancel(key)
        worker.until_end(key)


class Recorder:
    """An engine that only notes what it is told."""

    def __init__(self) -> None:
        self.told: list[tuple[str, RequestKey]] = []

    @property
    def ready(self) -> Ready:
        raise AssertionError("nobody asks")

    @property
    def pulse(self) -> Pulse:
        raise AssertionError("nobody asks")

    @property
    def load(self) -> Load:
        raise AssertionError("nobody asks")

    @property
    def counter(self) -> Counter:
        return ScriptedCounter(lambda _: None)

    def submit(self, request: Generate, frames: Sequence[Frame]) -> None:  # noqa: ARG002
        self.told.append(("submit", request.key))

    def cancel(self, key: RequestKey) -> None:
        self.told.append(("cancel", key))

    def close(self) -> None:
        raise AssertionError("nobody closes it")


def test_a_cancel_that_overtakes_its_request_still_ends_it(socket_directory: Path) -> None:
    # Two sockets have no common order: a picture takes longer than a cancel.
    with closing(Orchestrator(socket_directory)) as orchestrator:
        worker = Worker(decode_start(orchestrator.start_line().strip()))
        worker._engine = engine = Recorder()
        key = RequestKey("r1", 0)
        worker._on_control(Cancel(request="r1", attempt=0))
        for request in ("r0", "r1", "r1"):
            worker._on_data(decode_data(orchestrator.generate_frame("hi", request)), [])
            worker._emit(Error(request=request, attempt=0, code="GENERATION_FAILED", message="over"))
        worker._transport.close(0)
        worker._transport.serve()
    expected = [("cancel", key), ("submit", RequestKey("r0", 0)), ("submit", key), ("cancel", key)]
    assert engine.told == [*expected, ("submit", key)]


def test_cancelling_what_has_ended_changes_nothing(worker: WorkerProcess) -> None:
    key = worker.generate("normal 1")
    worker.until_end(key)
    worker.cancel(key)
    again = worker.generate("normal 1", request="r2")
    [prepared, *messages], _ = worker.until_end(again)
    assert isinstance(prepared, RequestPrepared)
    assert all(isinstance(message, Tokens) for message in messages)


@pytest.mark.parametrize(
    ("options", "text", "reason"),
    [
        ({"maxNewTokens": 24}, "abcde", "length"),
        ({"stop": ["h", "zz"]}, "abcdefg", "stop"),
        ({}, "abcdefghij", "stop"),
    ],
    ids=["maxNewTokens", "stop string", "neither"],
)
def test_options_bound_the_answer(
    worker: WorkerProcess, options: dict[str, Any], text: str, reason: str
) -> None:
    # 19 tokens come before the answer: three tags, and a thought of 16 characters.
    key = worker.generate("normal 10", **options)
    messages, done = worker.until_end(key)
    assert isinstance(done, Done)
    assert (done.finish_reason, text_of(messages, key)) == (reason, text)


def test_more_tokens_than_the_context_leaves_are_cut_with_a_warning(worker: WorkerProcess) -> None:
    key = worker.generate("normal 1", maxNewTokens=65_536)
    messages, _ = worker.until_end(key)
    [warning] = [message for message in messages if isinstance(message, RequestWarning)]
    assert warning.code == "MAX_NEW_TOKENS_CUT"
    assert "65536 was cut to 65528" in warning.message


def resume(worker: WorkerProcess, text: str, generated: list[int], **options: Any) -> RequestKey:
    frame = msgspec.msgpack.decode(worker.generate_frame(text, options=options))
    worker.send("data", msgspec.msgpack.encode(frame | {"attempt": 1, "generated": generated}))
    return RequestKey("r1", 1)


def ids_of(messages: Sequence[Any], key: RequestKey) -> list[int]:
    return [token for item in items(messages, key) for token in item.ids]


def test_a_resumed_request_goes_on_after_what_the_earlier_attempt_has_sent(worker: WorkerProcess) -> None:
    text = "say A cat – 猫 🙂"
    first = worker.generate(text)
    whole, whole_done = worker.until_end(first)
    ids, raw = ids_of(whole, first), text_of(whole, first)
    for sent in (1, 18, 29, len(ids) - 1):
        key = resume(worker, text, ids[:sent])
        rest, done = worker.until_end(key)
        assert [item.index for item in items(rest, key) if item.ids] == list(range(sent, len(ids)))
        assert ids[:sent] + ids_of(rest, key) == ids
        earlier = [item for item in items(whole, first) if item.index < sent]
        assert text_of([Tokens(items=earlier)], first) + text_of(rest, key) == raw
        assert isinstance(done, Done)
        assert isinstance(whole_done, Done)
        assert (done.finish_reason, done.usage) == ("stop", whole_done.usage)
        assert min(done.timing.prefill_ms, done.timing.decode_ms) >= 0


@pytest.mark.parametrize(("bound", "reason"), [(99, "stop"), (5, "length")])
def test_a_resumed_request_of_which_nothing_is_left_ends_at_once(
    worker: WorkerProcess, bound: int, reason: str
) -> None:
    first = worker.generate("normal 3", maxNewTokens=bound)
    ids = ids_of(worker.until_end(first)[0], first)
    key = resume(worker, "normal 3", ids, maxNewTokens=bound)
    rest, done = worker.until_end(key)
    assert ids_of(rest, key) == []
    assert isinstance(done, Done)
    assert (done.finish_reason, done.usage.completion_tokens) == (reason, len(ids))


def test_a_resumed_request_that_is_cancelled_while_it_waits_keeps_its_count(worker: WorkerProcess) -> None:
    running = [worker.generate("slow 5000", request=f"r{number}") for number in range(2, 6)]
    key = resume(worker, "normal 3", [65, 66])
    worker.cancel(key)
    rest, done = worker.until_end(key)
    assert [item.index for item in items(rest, key)] == [2]
    assert isinstance(done, Done)
    assert (done.finish_reason, done.usage.completion_tokens) == ("cancelled", 2)
    for other in running:
        worker.cancel(other)
        worker.until_end(other)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("dance", "INVALID_REQUEST"),
        ("sing 3", "INVALID_REQUEST"),
        ("say " + "x" * 65_536, "CONTEXT_TOO_LONG"),
    ],
    ids=["no number", "unknown", "too long"],
)
def test_a_bad_request_fails_by_name_and_the_next_one_works(
    worker: WorkerProcess, text: str, code: str
) -> None:
    _, error = worker.until_end(worker.generate(text))
    assert isinstance(error, Error)
    assert error.code == code
    assert error.hint
    _, done = worker.until_end(worker.generate("normal 1", request="r2"))
    assert isinstance(done, Done)


def test_out_of_memory_belongs_to_one_request(worker: WorkerProcess) -> None:
    other = worker.generate("slow 5000", request="other")
    key = worker.generate("oom 3")
    messages, error = worker.until_end(key)
    assert isinstance(error, Error)
    assert error.code == "GPU_OUT_OF_MEMORY"
    assert text_of(messages, key) == "abc"
    assert items([worker.next_data()], other)
    worker.cancel(other)
    _, done = worker.until_end(other)
    assert isinstance(done, Done)


def test_a_stuttering_request_arrives_whole(worker: WorkerProcess) -> None:
    key = worker.generate("stutter 5")
    messages, done = worker.until_end(key)
    assert isinstance(done, Done)
    assert text_of(messages, key) == "abcde"


def test_a_crash_is_a_death_by_signal_after_the_tokens(worker: WorkerProcess) -> None:
    key = worker.generate("crash 3")
    text = ""
    while text != "abc":
        text += text_of([worker.next_data()], key)
    assert worker.exit_code() == -signal.SIGSEGV
    assert "Segmentation fault" in worker.log


def test_a_script_that_leaves_has_a_code_of_its_own(worker: WorkerProcess) -> None:
    worker.generate("exit 3")
    assert worker.exit_code() == 3


def test_a_script_that_uses_up_its_memory_dies_of_it(worker: WorkerProcess) -> None:
    worker.generate("allocate 3")
    assert worker.exit_code() == -signal.SIGABRT
    assert "MemoryError" in worker.log
    assert "in allocate" in worker.log


def test_a_script_that_holds_the_interpreters_lock_silences_the_worker(spawn: Spawn) -> None:
    worker = spawn(heartbeatMs=10)
    worker.ready()
    worker.generate("gil 1")
    deadline = time.monotonic() + PATIENCE_S
    # A worker that only waits for its turn is silent too.
    while "in hang_with_lock" not in worker.log:
        while worker.hears("control", within_ms=200):
            worker.next_heartbeat()
            assert time.monotonic() < deadline
        os.kill(worker.process.pid, signal.SIGUSR1)
        assert time.monotonic() < deadline
    worker.shut_down()
    assert not worker.hears("control", within_ms=200)
    assert worker.process.poll() is None


def test_a_script_that_stops_its_process_goes_on_when_it_is_continued(worker: WorkerProcess) -> None:
    key = worker.generate("stop 3")
    os.waitid(os.P_PID, worker.process.pid, os.WSTOPPED)
    os.kill(worker.process.pid, signal.SIGCONT)
    messages, done = worker.until_end(key)
    assert isinstance(done, Done)
    assert text_of(messages, key) == "abc"


def test_a_script_breaks_again_at_the_same_place_when_it_is_resumed(worker: WorkerProcess) -> None:
    key = worker.generate("normal 3")
    ids = ids_of(worker.until_end(key)[0], key)
    resume(worker, "exit 3", ids[:-2])
    assert worker.exit_code() == 3


def test_a_script_does_not_go_on_after_the_ids_of_another(worker: WorkerProcess) -> None:
    for generated in ([65], [260, 73, 999]):
        _, error = worker.until_end(resume(worker, "normal 3", generated))
        assert isinstance(error, Error)
        assert (error.code, error.message[:11]) == ("INVALID_REQUEST", "generated: ")


def test_a_hung_step_ends_no_request_but_the_worker_can_leave(worker: WorkerProcess) -> None:
    key = worker.generate("hang 1")
    while text_of([worker.next_data()], key) != "a":
        pass
    worker.cancel(key)
    worker.shut_down()
    assert worker.exit_code() == 0
    assert worker.pending_data() == []


def test_a_broken_engine_ends_the_guilty_request_by_name_and_the_worker(worker: WorkerProcess) -> None:
    other = worker.generate("slow 5000", request="other")
    key = worker.generate("poison 3")
    messages, error = worker.until_end(key)
    assert isinstance(error, Error)
    assert error.code == "GENERATION_FAILED"
    assert text_of(messages, key) == "abc"
    assert "the engine broke" in worker.expect(Fault).message
    assert worker.exit_code() == 1
    assert not any(isinstance(message, Done | Error) for message in [*messages, *worker.pending_data()])
    assert items(messages, other)


def test_babble_is_no_message(worker: WorkerProcess) -> None:
    worker.generate("babble 3")
    while (frame := worker.next_frame("data"))[0] != 0xC1:
        msgspec.msgpack.decode(frame)


def test_slow_loading_reports_progress(spawn: Spawn) -> None:
    worker = spawn(load="slow")
    worker.expect(Hello)
    progress = worker.expect(Loading)
    assert (progress.stage, progress.done, progress.total) == ("weights", 0, 10)
    assert [worker.expect(Loading).done for _ in range(9)] == list(range(1, 10))
    worker.expect(Ready)


def test_a_failed_start_says_why_and_leaves(spawn: Spawn) -> None:
    worker = spawn(load="fail")
    worker.expect(Hello)
    failure = worker.expect(Failed)
    assert failure.code == "MODEL_NOT_FOUND"
    assert failure.hint
    assert "load_scripted" in (failure.traceback or "")
    assert worker.exit_code() == 1


def test_a_crash_while_loading_is_a_death_by_signal(spawn: Spawn) -> None:
    worker = spawn(load="crash")
    # Its hello may be lost with it, when nobody had the time to take it.
    assert worker.exit_code() == -signal.SIGSEGV


def test_babble_while_loading_is_no_message(spawn: Spawn) -> None:
    worker = spawn(load="babble")
    worker.expect(Hello)
    with pytest.raises(msgspec.DecodeError):
        worker.next_control()
    assert worker.process.poll() is None


def test_another_version_of_the_protocol_is_refused(spawn: Spawn) -> None:
    worker = spawn(protocol=999)
    assert worker.expect(Hello).protocol == PROTOCOL_VERSION
    failure = worker.expect(Failed)
    assert failure.code == "PROTOCOL_MISMATCH"
    assert "999" in failure.message
    assert worker.exit_code() == 1


def test_shutdown_ends_an_idle_worker(worker: WorkerProcess) -> None:
    worker.shut_down()
    assert worker.exit_code() == 0
    assert "Traceback" not in worker.log


def test_shutdown_does_not_wait_for_what_is_on_board(worker: WorkerProcess) -> None:
    worker.generate("slow 5000")
    worker.next_data()
    worker.shut_down()
    assert worker.exit_code(within_s=2) == 0


def test_shutdown_ends_a_worker_that_never_finishes_loading(spawn: Spawn) -> None:
    worker = spawn(load="hang")
    worker.expect(Hello)
    worker.shut_down()
    assert worker.exit_code(within_s=2) == 0


def one_picture(worker: WorkerProcess) -> bytes:
    return worker.generate_frame("normal 1", media=[{"kind": "image", "bytes": 4}])


@pytest.mark.parametrize(
    ("channel", "frames", "reason"),
    [
        ("control", lambda _: [b"\x81\xa4type\xa4nope"], "nope"),
        ("control", lambda _: [b"garbage"], "control channel is not a message"),
        ("control", lambda _: [b"\x81\xa4type\xa8shutdown", b""], "has one frame, this one has 2"),
        ("data", lambda _: [b"\xc1"], "data channel is not a message"),
        ("data", lambda worker: [one_picture(worker)], "announces 1 media frames, 0 came"),
        ("data", lambda worker: [one_picture(worker), b"1234", b""], "announces 1 media frames, 2 came"),
        ("data", lambda worker: [one_picture(worker), b"123"], "should have 4 bytes and has 3"),
    ],
    ids=["unknown", "garbage", "extra frame", "garbage data", "no picture", "extra picture", "short picture"],
)
def test_what_is_no_message_is_a_fault_and_the_worker_leaves(
    worker: WorkerProcess, channel: Any, frames: Callable[[WorkerProcess], list[bytes]], reason: str
) -> None:
    worker.send(channel, *frames(worker))
    assert reason in worker.expect(Fault).message
    assert worker.exit_code() == 1


def test_a_request_before_ready_is_a_fault(spawn: Spawn) -> None:
    worker = spawn(load="hang")
    worker.expect(Hello)
    worker.generate("normal 1")
    assert "before `ready`" in worker.expect(Fault).message
    assert worker.exit_code() == 1
