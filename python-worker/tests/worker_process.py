"""The orchestrator's side of the wire, for tests: real sockets, a real worker process, bounded waits."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar

import msgspec
import zmq

from glimpse_worker.protocol import (
    PROTOCOL_VERSION,
    ControlFromWorker,
    DataFromWorker,
    Done,
    Error,
    Heartbeat,
    Hello,
    Ready,
    RequestKey,
    TextPart,
    ThinkingPart,
    Tokens,
    TokensItem,
)

PATIENCE_S = 10.0
"""No wait is longer; none should come near it."""
HEARTBEAT_MS = 1000
"""Rarely, as most tests listen for something else."""
PYTHON_WORKER = Path(__file__).parents[1]
COMMAND = (sys.executable, "-P", "-m", "glimpse_worker")

M = TypeVar("M")
_control: msgspec.msgpack.Decoder[ControlFromWorker] = msgspec.msgpack.Decoder(ControlFromWorker)
_data: msgspec.msgpack.Decoder[DataFromWorker] = msgspec.msgpack.Decoder(DataFromWorker)


def environment(*first_on_path: Path) -> dict[str, str]:
    path = os.pathsep.join(map(str, (*first_on_path, PYTHON_WORKER)))
    return {**os.environ, "PYTHONPATH": path}


class Orchestrator:
    """Binds the two sockets in a directory and speaks for the library."""

    def __init__(self, directory: Path) -> None:
        self._context = zmq.Context()
        self._sockets = {name: self._context.socket(zmq.DEALER) for name in ("control", "data")}
        self.endpoints = {name: f"ipc://{directory}/{name}" for name in self._sockets}
        for name, socket in self._sockets.items():
            socket.linger = 0
            # To send to a worker that is gone would wait for another one.
            socket.sndtimeo = int(PATIENCE_S * 1000)
            socket.bind(self.endpoints[name])

    def start_line(self, load: str = "normal", **changes: Any) -> bytes:
        start = {
            "type": "start",
            "protocol": PROTOCOL_VERSION,
            "generation": 7,
            "token": "one-time secret",
            **self.endpoints,
            "parentPid": os.getpid(),
            "model": "",
            "device": "cpu",
            "dtype": "float32",
            "engine": {"kind": "scripted", "load": load},
            "heartbeatMs": HEARTBEAT_MS,
        }
        return json.dumps({**start, **changes}).encode() + b"\n"

    def send(self, channel: Literal["control", "data"], *frames: bytes) -> None:
        self._sockets[channel].send_multipart(frames)

    def generate(self, text: str, request: str = "r1", **options: Any) -> RequestKey:
        self.send("data", self.generate_frame(text, request, options=options))
        return RequestKey(request, 0)

    def generate_frame(
        self, text: str, request: str = "r1", media: Sequence[Any] = (), options: dict[str, Any] | None = None
    ) -> bytes:
        content = [{"type": "media", "index": index} for index in range(len(media))]
        return msgspec.msgpack.encode(
            {
                "type": "generate",
                "request": request,
                "attempt": 0,
                "messages": [{"role": "user", "content": [*content, {"type": "text", "text": text}]}],
                "media": media,
                "options": {"seed": 1, **(options or {})},
            }
        )

    def cancel(self, key: RequestKey) -> None:
        self.send("control", msgspec.msgpack.encode({"type": "cancel", **key._asdict()}))

    def shut_down(self) -> None:
        self.send("control", msgspec.msgpack.encode({"type": "shutdown"}))

    def next_of_control(self) -> ControlFromWorker:
        """The next message on the control channel, be it a heartbeat."""
        return _control.decode(self.next_frame("control"))

    def next_control(self) -> ControlFromWorker:
        """The next message on the control channel that is no heartbeat."""
        while isinstance(message := self.next_of_control(), Heartbeat):
            pass
        return message

    def next_heartbeat(self) -> Heartbeat:
        """The next message on the control channel, which is a heartbeat."""
        message = self.next_of_control()
        assert isinstance(message, Heartbeat), message
        return message

    def heartbeats_until(self, reached: Callable[[Heartbeat], bool]) -> list[Heartbeat]:
        """The next heartbeats, up to the first that `reached` says yes to."""
        heard = [self.next_heartbeat()]
        deadline = time.monotonic() + PATIENCE_S
        while not reached(heard[-1]):
            assert time.monotonic() < deadline, heard[-1]
            heard.append(self.next_heartbeat())
        return heard

    def next_data(self) -> DataFromWorker:
        return _data.decode(self.next_frame("data"))

    def pending_data(self) -> list[DataFromWorker]:
        """What has come on the data channel and was not read."""
        messages = []
        while self._sockets["data"].poll(0):
            messages.append(self.next_data())
        return messages

    def next_frame(self, channel: Literal["control", "data"]) -> bytes:
        socket = self._sockets[channel]
        assert socket.poll(int(PATIENCE_S * 1000)), f"nothing came on the {channel} channel"
        (frame,) = socket.recv_multipart()
        return frame

    def hears(self, channel: Literal["control", "data"], within_ms: int) -> bool:
        """Whether something comes in time."""
        return bool(self._sockets[channel].poll(within_ms))

    def expect(self, kind: type[M]) -> M:
        """The next message on the control channel that is no heartbeat, which is of this kind."""
        message = self.next_control()
        assert isinstance(message, kind), message
        return message

    def until_end(self, key: RequestKey) -> tuple[list[DataFromWorker], Done | Error]:
        """Everything on the data channel up to the ending of the request, and that ending."""
        seen: list[DataFromWorker] = []
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            message = self.next_data()
            if isinstance(message, Done | Error) and message.key == key:
                return seen, message
            seen.append(message)
        raise AssertionError(f"{key} has not ended in {PATIENCE_S} s")

    def close(self) -> None:
        self._context.destroy(linger=0)


class WorkerProcess(Orchestrator):
    """An orchestrator with its worker. The child's stderr is in `log`."""

    def __init__(
        self, directory: Path, load: str = "normal", env: dict[str, str] | None = None, **changes: Any
    ) -> None:
        super().__init__(directory)
        self._log = directory / "stderr"
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                COMMAND, stdin=subprocess.PIPE, stderr=log, env=env or environment(), start_new_session=True
            )
        assert self.process.stdin is not None
        self.stdin = self.process.stdin
        self.stdin.write(self.start_line(load, **changes))
        self.stdin.flush()

    @property
    def log(self) -> str:
        return self._log.read_text()

    def ready(self) -> Ready:
        self.expect(Hello)
        return self.expect(Ready)

    def exit_code(self, within_s: float = PATIENCE_S) -> int:
        return self.process.wait(within_s)

    def close(self) -> None:
        self.process.kill()
        self.process.wait(PATIENCE_S)
        self.stdin.close()
        super().close()


def text_of(
    messages: Sequence[DataFromWorker],
    key: RequestKey,
    kind: type[TextPart] | type[ThinkingPart] = TextPart,
) -> str:
    """The answer of one request, or its thinking."""
    parts = [part for item in items(messages, key) for part in item.parts]
    return "".join(part.text for part in parts if isinstance(part, kind))


def items(messages: Sequence[DataFromWorker], key: RequestKey) -> list[TokensItem]:
    """What came for one request, in order."""
    every = (item for message in messages if isinstance(message, Tokens) for item in message.items)
    return [item for item in every if (item.request, item.attempt) == key]


def gone_within(pid: int, seconds: float) -> bool:
    """Whether a process, which need not be a child, ends in time; a zombie has ended."""
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([handle], [], [], seconds)[0])
    finally:
        os.close(handle)
