"""Counts the tokens of requests that are not to be answered, beside the engine."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from ..checkpoint import Checkpoint
from ..failure import request_error
from ..prepare import planned
from ..prompt import PromptBuilder
from ..protocol import Counted, CountTokens, Done, Error, Frame, RequestKey, Timing, Usage
from .interface import Emit

THREADS = 2
"""Reading headers is quick; one file that takes long should not hold up the others."""


class TokenCounter:
    """
    Reads headers and builds prompts, as it is done before a request is answered, and so tells the same
    numbers. Nothing is decoded, and the model is not asked.
    """

    def __init__(self, checkpoint: Checkpoint, prompts: PromptBuilder, emit: Emit) -> None:
        self._checkpoint = checkpoint
        self._prompts = prompts
        self._emit = emit
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="count")
        self._lock = threading.Lock()
        self._board: dict[RequestKey, threading.Event] = {}

    def count(self, request: CountTokens, frames: Sequence[Frame]) -> None:
        cancelled = threading.Event()
        with self._lock:
            self._board[request.key] = cancelled
        self._pool.submit(self._count, request, frames, cancelled)

    def cancel(self, key: RequestKey) -> None:
        self._end(key, cancelled_count(key))

    def close(self) -> None:
        with self._lock:
            for cancelled in self._board.values():
                cancelled.set()
            self._board.clear()
            self._pool.shutdown(wait=False, cancel_futures=True)

    def _count(self, request: CountTokens, frames: Sequence[Frame], cancelled: threading.Event) -> None:
        if cancelled.is_set():
            return
        try:
            ending: Counted | Error = self._counted(request, frames, cancelled)
        except BaseException as error:  # A panic in Rust code, which reads tokenizers, is no Exception.
            ending = request_error(request.key, error)
        self._end(request.key, ending)

    def _counted(self, request: CountTokens, frames: Sequence[Frame], cancelled: threading.Event) -> Counted:
        with planned(request, frames, self._checkpoint, self._prompts, cancelled.is_set) as plan:
            return Counted(
                request=request.request,
                attempt=request.attempt,
                prompt_tokens=len(plan.prompt.ids),
                image_tokens=plan.prompt.image_tokens,
                context_length=self._checkpoint.context_length,
                media=[medium.counted for medium in plan.media],
            )

    def _end(self, key: RequestKey, ending: Counted | Done | Error) -> None:
        """Under the lock, so that nothing follows an ending."""
        with self._lock:
            if (cancelled := self._board.pop(key, None)) is not None:
                cancelled.set()
                self._emit(ending)


def cancelled_count(key: RequestKey) -> Done:
    """The ending of a count that nobody waits for any more."""
    return Done(
        request=key.request,
        attempt=key.attempt,
        finish_reason="cancelled",
        usage=Usage(
            prompt_tokens=0,
            image_tokens=0,
            cached_tokens=0,
            cached_image_tokens=0,
            thinking_tokens=0,
            completion_tokens=0,
        ),
        timing=Timing(queue_ms=0, preprocess_ms=0, prefill_ms=0, decode_ms=0),
    )
