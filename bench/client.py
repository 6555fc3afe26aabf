"""Stands where the worker stands: gives an engine requests, packs what it says, and notes when it said it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import count, pairwise

from glimpse_worker.engine.interface import Emit, Engine
from glimpse_worker.protocol import (
    ChatMessage,
    DataFromWorker,
    Done,
    Error,
    Fault,
    Generate,
    ImageMedia,
    MediaContent,
    Options,
    RequestKey,
    TextContent,
    Tokens,
    encode,
)

PATIENCE_S = 240
"""How long a batch of requests may take; a benchmark that hangs has to say so."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A request: pictures, encoded, then a text."""

    text: str
    pictures: Sequence[bytes] = ()
    max_new_tokens: int = 1
    temperature: float = 1.0
    top_p: float = 0.6


def message(asked: Asked, name: str, seed: int = 0) -> Generate:
    """What goes over the wire for a request, its pictures apart."""
    content = [MediaContent(index=index) for index in range(len(asked.pictures))]
    return Generate(
        request=name,
        attempt=0,
        messages=[ChatMessage(role="user", content=[*content, TextContent(text=asked.text)])],
        media=[ImageMedia(bytes=len(picture)) for picture in asked.pictures],
        options=Options(
            seed=seed,
            max_new_tokens=asked.max_new_tokens,
            temperature=asked.temperature,
            top_p=asked.top_p,
        ),
    )


@dataclass(slots=True)
class Stream:
    """What came of a request. Times are of time.perf_counter."""

    name: str
    submitted: float
    ids: list[int] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    """When each token came; those that came together have the same time."""
    ending: Done | Error | None = None
    ended: threading.Event = field(default_factory=threading.Event)

    @property
    def done(self) -> Done:
        """Raises RuntimeError for a request that failed."""
        if not isinstance(self.ending, Done):
            raise RuntimeError(f"request {self.name} ended as {self.ending}")
        return self.ending

    @property
    def first_token_s(self) -> float:
        return self.times[0] - self.submitted

    @property
    def gaps_s(self) -> list[float]:
        """The times between its tokens."""
        return [after - before for before, after in pairwise(self.times)]


@dataclass(frozen=True, slots=True)
class Step:
    """One message with tokens, which is one step of the engine."""

    time: float
    """Of time.perf_counter."""
    cpu: float
    """What the engine's thread has computed so far, in seconds; other programs do not count."""
    tokens: int


class Client:
    """
    Keeps at most `slots` requests on board, as the orchestrator does. `on_step` is called on the engine's
    thread, after every message with tokens.
    """

    def __init__(self, start: Callable[[Emit], Engine], slots: int | None = None) -> None:
        """`slots` are those that the engine says, unless it says nothing."""
        self.steps: list[Step] = []
        self.on_step: Callable[[], None] = lambda: None
        self.fault: Fault | None = None
        self._streams: dict[str, Stream] = {}
        self._names = count()
        self.engine = start(self._emit)
        self._slots = threading.Semaphore(slots or self.engine.ready.slots)

    def submit(self, asked: Asked) -> Stream:
        """Waits for a slot; the request counts as submitted when it has one."""
        if not self._slots.acquire(timeout=PATIENCE_S):
            raise TimeoutError(f"no request has ended for {PATIENCE_S} s")
        stream = Stream(f"r{next(self._names)}", time.perf_counter())
        self._streams[stream.name] = stream
        request = message(asked, stream.name, seed=len(self._streams))
        self.engine.submit(request, asked.pictures)
        return stream

    def run(self, batch: Sequence[Asked]) -> list[Stream]:
        """Submits all at once and waits for all. Raises when one of them failed."""
        self.steps.clear()
        streams = [self.submit(asked) for asked in batch]
        self.wait(streams)
        return streams

    def wait(self, streams: Sequence[Stream]) -> None:
        """Raises RuntimeError when a request or the engine failed, TimeoutError when nothing ends."""
        deadline = time.monotonic() + PATIENCE_S
        for stream in streams:
            if not stream.ended.wait(deadline - time.monotonic()):
                raise TimeoutError(f"request {stream.name} has not ended after {PATIENCE_S} s")
            if self.fault is not None:
                raise RuntimeError(self.fault.message)
            _ = stream.done

    def cancel(self, streams: Sequence[Stream]) -> None:
        for stream in streams:
            self.engine.cancel(RequestKey(stream.name, 0))

    def _emit(self, message: DataFromWorker | Fault) -> None:
        encode(message)
        now = time.perf_counter()
        if isinstance(message, Tokens):
            self.steps.append(Step(now, time.thread_time(), sum(len(item.ids) for item in message.items)))
            for item in message.items:
                stream = self._streams[item.request]
                stream.ids += item.ids
                stream.times += [now] * len(item.ids)
            self.on_step()
        elif isinstance(message, Done | Error):
            stream = self._streams[message.request]
            stream.ending = message
            stream.ended.set()
            self._slots.release()
        elif isinstance(message, Fault):
            self.fault = message
            for stream in self._streams.values():
                stream.ended.set()
