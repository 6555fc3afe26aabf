"""Paged engines for one test each: launches are watched and made to fail, and in the end all is free."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, Literal

from drawing import red_circle, shapes
from embedded import PATIENCE_S, Answer, user
from oracle import Question, oracle
from paged import PagedCaller

from glimpse_worker.engine.paged.assembly import CPU
from glimpse_worker.engine.paged.engine import PagedEngine
from glimpse_worker.engine.paged.request import Request
from glimpse_worker.engine.paged.runner import Forward, Launched, Placed
from glimpse_worker.engine.paged.sequence import Chunk
from glimpse_worker.engine.paged.sequence import Sequence as Running
from glimpse_worker.protocol import DataFromWorker, Fault

CIRCLE = Question([user(0, "Describe this image.")], [red_circle()])
COLOUR = Question([user(0, "What colour is the circle?")], [red_circle()])
SQUARE = Question(
    [user(0, "Where is the blue square?")], [shapes((224, 168), ("square", "blue", (120, 90, 180, 150)))]
)
HELLO = Question([user("Hello")])
SUM = Question([user("What is 7 + 8?")])

UNENDING: dict[str, Any] = {"temperature": 100.0, "top_k": 512, "seed": 163}
"""Options that draw from nearly even chances, with a seed that draws no stop token for a long time."""


def long_text(words: int) -> Question:
    return Question([user("word " * words)])


@cache
def expected(question: Question, length: int = 60, penalty: float = 1.0) -> list[int]:
    """What transformers' `generate` answers, greedily."""
    return oracle().greedy(question, length, penalty=penalty).ids


@dataclass(frozen=True)
class Launch:
    """One launch, by the names of the requests in it and how many tokens each has there."""

    kind: Literal["prefill", "decode"]
    names: list[str]
    counts: list[int]

    @property
    def tokens(self) -> int:
        return sum(self.counts)


class Board(PagedCaller):
    """A paged engine whose launches are noted."""

    engine: PagedEngine

    def __init__(self, *, cache_tokens: int, feature_tokens: int, **sizes: int) -> None:
        self.launches: list[Launch] = []
        self.before: Callable[[Launch], None] = lambda _: None
        """Called on the engine's thread before each launch, which fails with what it raises."""
        self._arrivals: dict[str, threading.Event] = {}
        self._gathering: list[str] = []
        others = threading.enumerate()
        own = replace(CPU, **sizes)
        self._max_running = own.max_running
        super().__init__(own, cache_tokens=cache_tokens, feature_tokens=feature_tokens)
        [self._thread] = [t for t in threading.enumerate() if t.name == "engine" and t not in others]
        self._runner = self.engine._runner
        self._prefill, self._decode = self._runner.prefill, self._runner.decode
        self._runner.prefill = self._watched_prefill  # type: ignore[method-assign]
        self._runner.decode = self._watched_decode  # type: ignore[method-assign]
        self._prepare = self.engine._intake._prepare
        self.engine._intake._prepare = self._watched_prepare  # type: ignore[method-assign]

    def gather(self, count: int) -> None:
        """The next launch waits until the `count` requests that are submitted now are all prepared."""
        self._gathering = [f"r{len(self.answers) + number}" for number in range(count)]

    def wait_until_prepared(self, answer: Answer) -> None:
        """Until the request's media and prompt, or what is wrong with them, are in the engine's inbox."""
        assert self._arrival(answer.name).wait(PATIENCE_S)

    def of(self, answer: Answer, kind: Literal["prefill", "decode"]) -> list[int]:
        """How many tokens of a request there are in each launch of that kind so far, failed ones included."""
        return [
            count
            for launch in self.launches
            if launch.kind == kind
            for name, count in zip(launch.names, launch.counts, strict=True)
            if name == answer.name
        ]

    def close(self) -> None:
        self.engine.close()
        self.wait_until_closed()

    def wait_until_closed(self) -> None:
        self._thread.join(PATIENCE_S)
        assert not self._thread.is_alive()

    def check_all_free(self) -> None:
        """To be called when every request has ended."""
        scheduler = self.engine._scheduler
        assert scheduler._pages.available == scheduler._pages.count
        assert sorted(scheduler._free_slots) == list(range(self._max_running))
        left = (self.engine._board, self.engine._runs, scheduler._waiting, scheduler._running)
        assert not any((*left, scheduler._suspects, scheduler._preempted))

    def _emit(self, message: DataFromWorker | Fault) -> None:
        super()._emit(message)
        if isinstance(message, Fault):
            # Nobody is to wait for what will not come.
            for answer in self.answers.values():
                answer.ended.set()

    def _watched_prepare(self, request: Request) -> None:
        self._prepare(request)
        self._arrival(request.message.request).set()

    def _arrival(self, name: str) -> threading.Event:
        return self._arrivals.setdefault(name, threading.Event())

    def _watched_prefill(self, chunks: Sequence[Chunk], placed: Sequence[Placed]) -> Launched | None:
        self._note("prefill", [chunk.sequence for chunk in chunks], [chunk.count for chunk in chunks])
        return self._prefill(chunks, placed)

    def _watched_decode(self, sequences: Sequence[Running]) -> Forward:
        self._note("decode", sequences, [1] * len(sequences))
        return self._decode(sequences)

    def _note(self, kind: Literal["prefill", "decode"], batch: Sequence[Running], counts: list[int]) -> None:
        launch = Launch(kind, [f"r{sequence.order}" for sequence in batch], counts)
        self.launches.append(launch)
        while self._gathering:
            assert self._arrival(self._gathering.pop()).wait(PATIENCE_S)
        self.before(launch)


@contextmanager
def board(*, cache_tokens: int = 4096, feature_tokens: int = 4096, **sizes: int) -> Iterator[Board]:
    """An engine for one test. Once that is over, nothing may be left of its requests."""
    own = Board(cache_tokens=cache_tokens, feature_tokens=feature_tokens, **sizes)
    try:
        yield own
        assert own.fault is None, own.fault
        assert all(answer.ended.wait(PATIENCE_S) for answer in own.answers.values())
        own.check_all_free()
    finally:
        own.close()


@cache
def open_board(lookahead: int = 0) -> Board:
    """One engine for all the tests that need nothing special."""
    return Board(cache_tokens=4096, feature_tokens=4096, lookahead=lookahead)
