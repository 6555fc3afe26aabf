"""The shipped engine over a model that never ends an answer, which also runs batches in its own process."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import replace

import msgspec
import torch

from glimpse_worker.device import choose_device
from glimpse_worker.engine.interface import Emit, Load
from glimpse_worker.engine.paged.assembly import CPU, GPU
from glimpse_worker.engine.paged.loading import keep_what_is_there
from glimpse_worker.engine.pulse import Pulse
from glimpse_worker.protocol import (
    DataFromWorker,
    Done,
    Error,
    Fault,
    Frame,
    Generate,
    LoadingStage,
    Progress,
    Ready,
    RequestKey,
    Start,
    Tokens,
)

from ..captures import Captures
from ..client import PATIENCE_S, Asked, message
from ..course import KV_CACHE_BYTES
from ..models import Subject, random_weights, trained
from .answer import answer, text_of

STREAMS = 64
"""A CPU runs as many at once too, which the shipped engine does not: there the ratio is the question."""


class Batch(msgspec.Struct, frozen=True):
    """The text of a request that is run here, as JSON: a request for each text."""

    texts: Sequence[str]
    new_tokens: int


class Taken(msgspec.Struct, frozen=True):
    """The answer to it, as JSON."""

    tokens: int
    seconds: float


class Endless:
    """
    A request whose text is a `Batch` is answered with the time that its requests took in this process, from
    the first `submit` to the last ending, nothing packed and nothing sent. Others go to the engine.
    """

    def __init__(self, subject: Subject, progress: Progress, emit: Emit) -> None:
        self._emit = emit
        self._here: _Here | None = None
        on_cpu = subject.device.type == "cpu"
        sizes = replace(CPU, max_running=STREAMS) if on_cpu else GPU
        memory = None if on_cpu else KV_CACHE_BYTES
        self._engine = subject.engine(self._sort, memory, progress, sizes)
        keep_what_is_there()

    @property
    def ready(self) -> Ready:
        return self._engine.ready

    @property
    def pulse(self) -> Pulse:
        return self._engine.pulse

    @property
    def load(self) -> Load:
        return self._engine.load

    def submit(self, request: Generate, frames: Sequence[Frame]) -> None:
        text = text_of(request)
        if not text.startswith("{"):
            self._engine.submit(request, frames)
            return
        batch = msgspec.json.decode(text, type=Batch)
        threading.Thread(target=self._run, args=(request, batch), name="batch", daemon=True).start()

    def cancel(self, key: RequestKey) -> None:
        self._engine.cancel(key)

    def close(self) -> None:
        self._engine.close()

    def _run(self, request: Generate, batch: Batch) -> None:
        requests = [
            message(Asked(text, max_new_tokens=batch.new_tokens), f"here-{number}", seed=number)
            for number, text in enumerate(batch.texts)
        ]
        self._here = here = _Here(len(requests))
        started = time.monotonic()
        for one in requests:
            self._engine.submit(one, [])
        ended = here.wait()
        self._here = None
        taken = Taken(here.tokens, ended - started)
        answer(self._emit, request, msgspec.json.encode(taken).decode())

    def _sort(self, said: DataFromWorker | Fault) -> None:
        """While a batch runs here, nothing else does."""
        (self._emit if self._here is None else self._here)(said)


class _Here:
    """Takes what the engine says as a program in its process would."""

    def __init__(self, requests: int) -> None:
        self.tokens = 0
        self._left = requests
        self._over = threading.Event()
        self._ended = 0.0
        self._failure: Error | Fault | None = None

    def wait(self) -> float:
        """When the last request ended, by time.monotonic. Raises when one failed."""
        if not self._over.wait(PATIENCE_S):
            raise TimeoutError(f"{self._left} requests have not ended after {PATIENCE_S} s")
        if self._failure is not None:
            raise RuntimeError(self._failure.message)
        return self._ended

    def __call__(self, said: DataFromWorker | Fault) -> None:
        if isinstance(said, Tokens):
            self.tokens += sum(len(item.ids) for item in said.items)
        elif isinstance(said, Done):
            self._left -= 1
            if self._left == 0:
                self._ended = time.monotonic()
                self._over.set()
        elif isinstance(said, Error | Fault):
            self._failure = said
            self._over.set()


def load_endless(start: Start, progress: Progress, emit: Emit) -> Endless:
    """
    `embedded` is the embedded model with its own weights, `9b` has random ones. The first process of a worker
    is ready when all its CUDA graphs are captured; a later one as early as the shipped one.
    """
    device = choose_device(start.device)
    subject = trained() if start.model == "embedded" else random_weights("9b", device, torch.bfloat16)
    captures = Captures()

    def both(stage: LoadingStage, done: int | None, total: int | None) -> None:
        progress(stage, done, total)
        captures.progress(stage, done, total)

    engine = Endless(subject, both, emit)
    if device.type != "cpu" and start.generation == 1:
        captures.wait()
    return engine
