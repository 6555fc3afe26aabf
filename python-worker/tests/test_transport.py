"""What is sent arrives, in order, also at the end; a slow reader of data does not stop control."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from queue import SimpleQueue

import pytest
from worker_process import PATIENCE_S, Orchestrator

from glimpse_worker.protocol import (
    Cancel,
    ControlToWorker,
    DataToWorker,
    Failed,
    Frame,
    Loading,
    RequestKey,
    Tokens,
)
from glimpse_worker.transport import Transport


class Serving:
    """A transport that serves on a thread of its own, and what it received."""

    def __init__(self, directory: Path) -> None:
        self.control: SimpleQueue[ControlToWorker] = SimpleQueue()
        self.generate: SimpleQueue[tuple[DataToWorker, Sequence[Frame]]] = SimpleQueue()
        self.transport = Transport(
            f"ipc://{directory}/control",
            f"ipc://{directory}/data",
            on_control=self.control.put,
            on_data=lambda request, frames: self.generate.put((request, frames)),
        )
        self.code: int | None = None
        self.thread = threading.Thread(target=self._serve, daemon=True)

    def _serve(self) -> None:
        self.code = self.transport.serve()


def failed() -> Failed:
    return Failed(code="MODEL_NOT_FOUND", message="no model")


def test_the_last_message_is_delivered_before_the_end(
    socket_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A reader that has to wait for its turn may come a second later.
    monkeypatch.setattr("glimpse_worker.transport.LINGER_MS", int(1000 * PATIENCE_S))
    serving = Serving(socket_directory)
    serving.transport.send_control(failed())
    serving.transport.close(1)
    serving.thread.start()
    # Nobody listens yet, so it cannot be over.
    serving.thread.join(0.1)
    assert serving.code is None
    with closing(Orchestrator(socket_directory)) as orchestrator:
        assert orchestrator.expect(Failed) == failed()
        serving.thread.join(PATIENCE_S)
    assert serving.code == 1


def test_nobody_listening_does_not_keep_it_for_ever(socket_directory: Path) -> None:
    serving = Serving(socket_directory)
    serving.transport.send_control(failed())
    serving.transport.close(1)
    serving.thread.start()
    serving.thread.join(PATIENCE_S)
    assert serving.code == 1


def test_messages_of_one_thread_arrive_in_order_and_none_is_dropped(socket_directory: Path) -> None:
    serving = Serving(socket_directory)
    serving.thread.start()
    for number in range(5000):
        serving.transport.send_control(Loading(stage="weights", done=number))
    with closing(Orchestrator(socket_directory)) as orchestrator:
        assert [orchestrator.expect(Loading).done for _ in range(5000)] == list(range(5000))
        serving.transport.close(0)
        serving.thread.join(PATIENCE_S)
    assert serving.code == 0


def test_a_reader_that_stopped_reading_data_can_still_cancel(socket_directory: Path) -> None:
    serving = Serving(socket_directory)
    serving.thread.start()
    with closing(Orchestrator(socket_directory)) as orchestrator:
        for _ in range(10_000):
            serving.transport.send_data(Tokens(items=[]))
        orchestrator.cancel(RequestKey("r1", 0))
        assert serving.control.get(timeout=PATIENCE_S) == Cancel(request="r1", attempt=0)
        serving.transport.close(0)
    serving.thread.join(PATIENCE_S)


def test_what_comes_between_two_looks_is_heard(
    socket_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # libzmq tells of a message once: whoever asks for anything else must see that it has come.
    serving = Serving(socket_directory)
    may_wait = serving.transport._may_wait
    with closing(Orchestrator(socket_directory)) as orchestrator:
        messages = [orchestrator.generate_frame("look")]

        def after_a_message() -> bool:
            if messages:
                orchestrator.send("data", messages.pop())
                time.sleep(0.1)
            return may_wait()

        monkeypatch.setattr(serving.transport, "_may_wait", after_a_message)
        serving.thread.start()
        request, _ = serving.generate.get(timeout=PATIENCE_S)
        serving.transport.close(0)
        serving.thread.join(PATIENCE_S)
    assert request.request == "r1"


def test_pictures_arrive_byte_for_byte(socket_directory: Path) -> None:
    serving = Serving(socket_directory)
    serving.thread.start()
    pictures = [bytes(range(256)) * 40_000, b"", b"\x00"]
    media = [{"kind": "video", "bytes": [len(picture) for picture in pictures], "fps": 1.5}]
    with closing(Orchestrator(socket_directory)) as orchestrator:
        orchestrator.send("data", orchestrator.generate_frame("look", media=media), *pictures)
        request, frames = serving.generate.get(timeout=PATIENCE_S)
        serving.transport.close(0)
        serving.thread.join(PATIENCE_S)
    assert request.frame_sizes() == [len(picture) for picture in pictures]
    assert [bytes(frame) for frame in frames] == pictures
