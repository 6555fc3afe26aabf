"""The embedded model behind a paged engine of chosen sizes, and what its scheduler did."""

from __future__ import annotations

import queue
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal
from unittest.mock import patch

from embedded import PATIENCE_S, Answer, Caller, start_line
from oracle import Question

from glimpse_worker.engine.interface import Emit, Engine
from glimpse_worker.engine.opening import open_model
from glimpse_worker.engine.paged import assembly
from glimpse_worker.engine.paged.assembly import Sizes, assemble
from glimpse_worker.engine.paged.features import FeatureCache
from glimpse_worker.engine.paged.scheduler import Scheduler, Step
from glimpse_worker.engine.paged.sequence import Sequence as Running
from glimpse_worker.protocol import DataFromWorker, Fault

TOKEN_BYTES = 2 * 4 * 2 * 32 * 4
"""Keys and values of a token: layers, heads of keys and values, their numbers, float32."""
FEATURES_BYTES = 256 * 4
"""What the vision tower makes of a placeholder token."""

Phase = Literal["waiting", "prefilling", "decoding"]


@dataclass
class Watch:
    """What the scheduler of an engine did. Requests are known by their number, the first submitted is 0."""

    preempted: list[int] = field(default_factory=list)
    largest_batch: int = 0
    on_phase: Callable[[int, Phase], None] = lambda *_: None
    """
    Called on the engine's thread before each step, for every request that waits, has a part of its prompt in
    the cache, or all of it.
    """

    def planned(self, step: Step, waiting: Sequence[Running], running: Sequence[Running]) -> None:
        self.preempted += [sequence.order for sequence in step.preempted]
        self.largest_batch = max(self.largest_batch, len(step.decode))
        for sequence in waiting:
            self.on_phase(sequence.order, "waiting")
        for sequence in running:
            if sequence.computed >= sequence.prompt_length:
                self.on_phase(sequence.order, "decoding")
            elif sequence.reused is not None:
                self.on_phase(sequence.order, "prefilling")


class WatchedScheduler(Scheduler):
    def __init__(self, watch: Watch, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._watch = watch

    def plan(self) -> Step:
        step = super().plan()
        self._watch.planned(step, self._waiting, self._running)
        return step


class PagedCaller(Caller):
    """`heard` has every message of the engine, in their order."""

    def __init__(self, sizes: Sizes, *, cache_tokens: int, feature_tokens: int = 4096) -> None:
        """
        `cache_tokens` fit into the KV cache, `feature_tokens` into that of the vision tower's output.
        """
        self.watch = Watch()
        self.heard: queue.SimpleQueue[DataFromWorker | Fault] = queue.SimpleQueue()
        super().__init__(partial(_load, sizes, self.watch, cache_tokens, feature_tokens))

    def ask_about(self, question: Question, **options: Any) -> Answer:
        return self.submit(question.messages, question.media(), **options)

    def hear(self) -> DataFromWorker:
        message = self.heard.get(timeout=PATIENCE_S)
        assert not isinstance(message, Fault), message
        return message

    def _emit(self, message: DataFromWorker | Fault) -> None:
        super()._emit(message)
        self.heard.put(message)


def _load(sizes: Sizes, watch: Watch, cache_tokens: int, feature_tokens: int, emit: Emit) -> Engine:
    with (
        patch.object(assembly, "Scheduler", partial(WatchedScheduler, watch)),
        patch.object(assembly, "FeatureCache", lambda _: FeatureCache(feature_tokens * FEATURES_BYTES)),
    ):
        return assemble(
            open_model(start_line(), _ignore, _ignore), cache_tokens * TOKEN_BYTES, _ignore, emit, sizes
        )


def _ignore(*_: Any) -> None:
    pass
