"""
The `reference` engine: transformers' own `generate`, one request at a time. Slow and certain; the others'
oracle.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from ..failure import request_error
from ..output import Output
from ..prepare import Prepared, prepare
from ..protocol import (
    Done,
    Error,
    Fault,
    FinishReason,
    Frame,
    Generate,
    Ready,
    RequestKey,
    Timing,
    Usage,
)
from .counting import TokenCounter
from .generation import TokenStream, generate, name_out_of_memory, settle
from .interface import Emit, Load
from .opening import Opened
from .pulse import Pulse
from .readiness import describe, devices_of, pulse_on
from .refusals import refuse_what_only_paged_does

logger = logging.getLogger(__name__)

_SLOTS = 2
"""One request that generates, and one whose pictures are decoded meanwhile."""


@dataclass(slots=True)
class _Run:
    """One request on board. Times are of time.monotonic."""

    request: Generate
    frames: Sequence[Frame]
    submitted: float
    cancelled: threading.Event = field(default_factory=threading.Event)
    generating: bool = False
    prepared: Prepared | None = None
    prepare_from: float = 0.0
    prepare_to: float = 0.0

    @property
    def key(self) -> RequestKey:
        return self.request.key


class ReferenceEngine:
    """
    Two threads: `prepare` decodes and builds prompts, `generate` owns the model.

    A request is on the board from `submit` to its ending, and leaves it exactly once, under the lock;
    whatever is sent from another thread than `generate` is sent under the lock too, so that nothing follows
    an ending. Pictures are held for requests on the board only.
    """

    def __init__(self, opened: Opened, emit: Emit) -> None:
        self._checkpoint = opened.checkpoint
        self._tokenizer = opened.tokenizer
        self._model = opened.model
        self._emit = emit
        self._prompts = opened.prompts
        self._counter = TokenCounter(opened.checkpoint, opened.prompts, emit)
        self._ready = describe(opened, engine="reference", slots=_SLOTS)
        self._devices = devices_of(opened.model)
        self._pulse = pulse_on(self._devices)
        self._generating = 0
        self._lock = threading.Lock()
        self._board: dict[RequestKey, _Run] = {}
        self._to_prepare: queue.SimpleQueue[_Run | None] = queue.SimpleQueue()
        self._to_generate: queue.SimpleQueue[_Run | None] = queue.SimpleQueue()
        for loop, thread in ((self._prepare_loop, "prepare"), (self._generate_loop, "generate")):
            threading.Thread(target=self._run_loop, args=(loop,), name=thread, daemon=True).start()

    @property
    def ready(self) -> Ready:
        return self._ready

    @property
    def pulse(self) -> Pulse:
        return self._pulse

    @property
    def load(self) -> Load:
        running = self._generating
        return Load(running, max(0, len(self._board) - running))

    @property
    def counter(self) -> TokenCounter:
        return self._counter

    def submit(self, request: Generate, frames: Sequence[Frame]) -> None:
        run = _Run(request, frames, submitted=time.monotonic())
        with self._lock:
            self._board[run.key] = run
        self._to_prepare.put(run)

    def cancel(self, key: RequestKey) -> None:
        with self._lock:
            run = self._board.get(key)
            if run is None:
                return
            run.cancelled.set()
            if run.generating:
                return
            del self._board[key]
            run.prepared, run.frames = None, ()
            waited = 1000 * (time.monotonic() - run.submitted)
            self._emit(_done(run, "cancelled", Usage(**_NO_TOKENS), Timing(**_NO_TIME, queue_ms=waited)))

    def close(self) -> None:
        self._counter.close()
        with self._lock:
            for run in self._board.values():
                run.cancelled.set()
            self._board.clear()
        self._to_prepare.put(None)

    def _run_loop(self, loop: Callable[[], None]) -> None:
        """Without one of the threads no request would ever end: when one breaks, the process has to leave."""
        try:
            loop()
        except BaseException as error:
            logger.exception("the engine broke")
            self._emit(
                Fault(reason="engine broken", message=f"the engine broke: {type(error).__name__}: {error}")
            )

    def _prepare_loop(self) -> None:
        while (run := self._to_prepare.get()) is not None:
            if self._on_board(run):
                self._prepare(run)
            # Not kept alive while this thread waits for the next request.
            run.frames = ()
        self._to_generate.put(None)

    def _prepare(self, run: _Run) -> None:
        run.prepare_from = time.monotonic()
        try:
            refuse_what_only_paged_does(run.request)
            prepared = prepare(run.request, run.frames, self._checkpoint, self._prompts, run.cancelled.is_set)
        except BaseException as error:  # A panic in Rust code, which reads tokenizers, is no Exception.
            self._end(run, request_error(run.key, error))
            return
        run.prepare_to = time.monotonic()
        with self._lock:
            if self._board.get(run.key) is run:
                self._emit(prepared.told(run.key))
                for warning in prepared.warnings:
                    self._emit(warning)
                run.prepared = prepared
                self._to_generate.put(run)

    def _generate_loop(self) -> None:
        while (run := self._to_generate.get()) is not None:
            with self._lock:
                if self._board.get(run.key) is not run:
                    continue
                run.generating = True
            self._generating = 1
            self._pulse.begin()
            ending = self._generate(run)
            run.prepared = None
            self._end(run, ending)
            if isinstance(ending, Error):
                settle(self._devices)
            self._pulse.end(steps=0)
            self._generating = 0

    def _generate(self, run: _Run) -> Done | Error:
        try:
            return self._run_model(run)
        except BaseException as error:  # As in `_prepare`.
            return request_error(run.key, name_out_of_memory(error, self._ready.device.name))

    def _run_model(self, run: _Run) -> Done:
        prepared, request = run.prepared, run.request
        assert prepared is not None
        output = Output(
            self._decode,
            stop_token_ids=self._ready.stop_token_ids,
            stop=request.options.stop or (),
            geometries=[medium.geometry for medium in prepared.media],
            places=prepared.places,
        )
        stream = TokenStream(run.key, output, run.cancelled, self._emit, self._pulse)
        started = time.monotonic()
        generate(self._model, request, prepared, stream)
        reason = stream.finish()
        usage = Usage(
            prompt_tokens=len(prepared.prompt.ids),
            image_tokens=prepared.prompt.image_tokens,
            cached_tokens=0,
            cached_image_tokens=0,
            thinking_tokens=output.thinking_tokens,
            completion_tokens=output.completion_tokens,
        )
        first, last = stream.first_at or started, stream.last_at or started
        timing = Timing(
            queue_ms=1000 * (run.prepare_from - run.submitted + started - run.prepare_to),
            preprocess_ms=1000 * (run.prepare_to - run.prepare_from),
            prefill_ms=1000 * (first - started),
            decode_ms=1000 * (last - first),
        )
        return _done(run, reason, usage, timing)

    def _decode(self, ids: Sequence[int]) -> str:
        # Raw text is what a script prints that keeps special tokens.
        return str(
            self._tokenizer.decode(list(ids), skip_special_tokens=False, clean_up_tokenization_spaces=False)
        )

    def _on_board(self, run: _Run) -> bool:
        with self._lock:
            return self._board.get(run.key) is run

    def _end(self, run: _Run, ending: Done | Error) -> None:
        with self._lock:
            if self._board.get(run.key) is run:
                del self._board[run.key]
                self._emit(ending)


_NO_TOKENS = {
    "prompt_tokens": 0,
    "image_tokens": 0,
    "cached_tokens": 0,
    "cached_image_tokens": 0,
    "thinking_tokens": 0,
    "completion_tokens": 0,
}
_NO_TIME = {"preprocess_ms": 0.0, "prefill_ms": 0.0, "decode_ms": 0.0}


def _done(run: _Run, reason: FinishReason, usage: Usage, timing: Timing) -> Done:
    request, attempt = run.key
    return Done(request=request, attempt=attempt, finish_reason=reason, usage=usage, timing=timing)
