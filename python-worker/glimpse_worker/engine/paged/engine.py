"""
The `paged` engine: the requests of a device in one batch.

A request's way: `submit` → the pool of `Intake` → `_arrive` → the scheduler's waiting list → its prompt in
`_launch_prefill` → a token in every `_decode` and `_sample`, read in `_read` → its ending in `_end`.
"""

from __future__ import annotations

import itertools
import logging
import queue
import threading
import time
from collections.abc import Sequence as List
from typing import assert_never

import torch

from ...device import is_out_of_memory
from ...failure import request_error
from ...protocol import (
    Done,
    Error,
    Fault,
    FinishReason,
    Frame,
    Generate,
    Ready,
    RequestKey,
    Tokens,
    TokensItem,
)
from ..counting import TokenCounter
from ..generation import name_out_of_memory, settle
from ..interface import Emit, Load
from ..pulse import Pulse
from .admission import Admission
from .inbox import Arrived, Cancelled, Closed, Inbox, Refused, Submitted
from .intake import Intake
from .request import Generation, Request, done
from .runner import Forward, Launched, Runner
from .scheduler import Scheduler
from .sequence import Chunk, Sequence
from .shown import Encoder

logger = logging.getLogger(__name__)

STEPS_PER_CAPTURE = 8
"""While it serves, the engine captures the graph of one batch size after so many steps."""
SMALLEST_CHUNK = 64
"""A prompt that does not fit into memory in chunks of so many tokens does not fit at all."""


class PagedEngine:
    """
    One thread owns the model and all that is known of the requests on board; what concerns it comes through
    its inbox, between two steps. With a `lookahead` of 1 a step's tokens are read while the next step goes
    through the model, so that a GPU has work while Python reads, parses, sends, and makes the masks that the
    next step is sampled with; 0 is for a CPU, which computes in the launch.
    """

    def __init__(
        self,
        ready: Ready,
        pulse: Pulse,
        inbox: Inbox,
        intake: Intake,
        admission: Admission,
        scheduler: Scheduler,
        encoder: Encoder,
        runner: Runner,
        counter: TokenCounter,
        emit: Emit,
        *,
        lookahead: int,
    ) -> None:
        self._ready = ready
        self._pulse = pulse
        self._inbox = inbox
        self._intake = intake
        self._admission = admission
        self._scheduler = scheduler
        self._encoder = encoder
        self._runner = runner
        self._counter = counter
        self._emit = emit
        self._lookahead = lookahead
        self._board: dict[RequestKey, Request] = {}
        self._runs: dict[Sequence, tuple[Request, Generation]] = {}
        self._launched: list[Launched] | None = None
        """The step that was launched last, until it is read."""
        self._orders = itertools.count()
        threading.Thread(target=self._run, name="engine", daemon=True).start()

    @property
    def ready(self) -> Ready:
        return self._ready

    @property
    def pulse(self) -> Pulse:
        return self._pulse

    @property
    def load(self) -> Load:
        running = self._scheduler.running
        return Load(running, max(0, len(self._board) - running))

    @property
    def counter(self) -> TokenCounter:
        return self._counter

    def submit(self, request: Generate, frames: List[Frame]) -> None:
        taken = Request(request, frames, next(self._orders))
        self._inbox.put(Submitted(taken))
        self._intake.put(taken)

    def cancel(self, key: RequestKey) -> None:
        self._inbox.put(Cancelled(key))

    def close(self) -> None:
        self._inbox.put(Closed())
        self._intake.close()
        self._counter.close()

    def _run(self) -> None:
        """Without this thread no request would ever end: when it breaks, the process has to leave."""
        try:
            with torch.inference_mode():
                while self._receive():
                    self._step()
        except BaseException as error:
            logger.exception("the engine broke")
            self._emit(
                Fault(reason="engine broken", message=f"the engine broke: {type(error).__name__}: {error}")
            )

    def _receive(self) -> bool:
        """Takes in what has come, and waits for it when there is nothing to compute. False: leave."""
        wait = self._launched is None and not self._scheduler.busy
        while wait and self._inbox.empty() and self._capture():
            pass
        if not wait:
            self._pulse.begin()
        while True:
            try:
                message = self._inbox.get(block=wait)
            except queue.Empty:
                return True
            wait = False
            self._pulse.begin()
            if isinstance(message, Closed):
                for request in self._board.values():
                    request.cancelled.set()
                return False
            self._take(message)

    def _capture(self) -> bool:
        """Uses the time in which there is nothing to compute."""
        self._pulse.begin()
        more = self._runner.capture_next()
        self._pulse.end(steps=0)
        return more

    def _take(self, message: Submitted | Arrived | Refused | Cancelled) -> None:
        match message:
            case Submitted(request):
                self._board[request.key] = request
            case Arrived(request):
                if self._board.get(request.key) is request:
                    self._arrive(request, message)
            case Refused(request, error):
                self._end(request, request_error(request.key, error))
            case Cancelled(key):
                if (found := self._board.get(key)) is not None:
                    self._cancel(found)
            case _:
                assert_never(message)

    def _arrive(self, request: Request, arrived: Arrived) -> None:
        if request.generation is not None:
            self._admission.renew(request.generation, arrived)
            self._scheduler.add(request.generation.sequence)
            return
        self._emit(arrived.prepared.told(request.key))
        # Those of an earlier attempt came before its first token.
        if request.message.generated is None:
            for warning in arrived.prepared.warnings:
                self._emit(warning)
        try:
            generation = self._admission.admit(arrived)
        except Exception as error:
            self._end(request, request_error(request.key, error))
            return
        request.generation = generation
        self._runs[generation.sequence] = (request, generation)
        generation.begin(request.message.generated or ())
        if generation.finish_reason is None:
            self._scheduler.add(generation.sequence)
        else:
            self._finish(request, generation, generation.finish_reason)

    def _cancel(self, request: Request) -> None:
        if request.generation is None:
            self._end(request, done(request, "cancelled"))
        else:
            request.generation.cancel()
            self._finish(request, request.generation, "cancelled")

    def _finish(self, request: Request, generation: Generation, reason: FinishReason) -> None:
        if item := generation.drain():
            self._emit(Tokens(items=[item]))
        self._end(request, done(request, reason))

    def _end(self, request: Request, ending: Done | Error) -> None:
        """Every ending of a request is sent here; nothing of it follows."""
        if self._board.get(request.key) is not request:
            return
        del self._board[request.key]
        request.cancelled.set()
        if request.generation is not None:
            self._scheduler.withdraw(request.generation.sequence)
            request.generation.sequence.forget()
            del self._runs[request.generation.sequence]
        self._emit(ending)

    def _step(self) -> None:
        step = self._scheduler.plan()
        for sequence in step.preempted:
            self._restore(sequence)
        planned = bool(step.prefill or step.decode)
        if planned and (self._pulse.reading.steps + 1) % STEPS_PER_CAPTURE == 0:
            self._runner.capture_next()
        prefilled = self._launch_prefill(step.prefill)
        forward = self._decode(step.decode)
        ended = self._read()
        if planned:
            self._launched = [*prefilled, *self._sample(forward)]
        if not self._lookahead:
            ended += self._read()
        self._pulse.end(ended)

    def _restore(self, sequence: Sequence) -> None:
        """What a preempted sequence shows has to be prepared again if it was let go of."""
        request, generation = self._runs[sequence]
        if generation.shown.dropped:
            self._scheduler.withdraw(sequence)
            self._intake.put(request)

    def _launch_prefill(self, chunks: List[Chunk]) -> list[Launched]:
        if not chunks:
            return []
        runs = [self._runs[chunk.sequence] for chunk in chunks]
        now = time.monotonic()
        for request, _ in runs:
            request.clock.started(now)
        try:
            shown = [generation.shown for _, generation in runs]
            launched = self._runner.prefill(chunks, self._encoder.place(chunks, shown))
        except Exception as error:
            self._failed([chunk.sequence for chunk in chunks], error, chunks[0].count)
            return []
        self._scheduler.launched_prefill(chunks)
        for chunk, (_, generation) in zip(chunks, runs, strict=True):
            generation.shown.reach(chunk.end)
        return [launched] if launched else []

    def _decode(self, sequences: List[Sequence]) -> Forward | None:
        if not sequences:
            return None
        try:
            return self._runner.decode(sequences)
        except Exception as error:
            self._failed(sequences, error, 1)
            return None

    def _sample(self, forward: Forward | None) -> list[Launched]:
        """The other half of `_decode`. What was read in between may have ended some of its requests."""
        if forward is None or not (current := forward.current):
            return []
        try:
            launched = self._runner.sample(forward)
        except Exception as error:
            self._failed(forward.sequences, error, 1)
            return []
        self._scheduler.launched_decode(current)
        return [launched]

    def _failed(self, sequences: List[Sequence], error: Exception, count: int) -> None:
        """
        A batch failed, its first chunk having `count` tokens. Whose fault it is shows when each of it goes
        alone; one alone that did not fit into memory tries smaller chunks before it ends.
        """
        settle([self._runner.device])
        if len(sequences) > 1:
            self._scheduler.isolate(sequence for sequence in sequences if sequence in self._runs)
            return
        [sequence] = sequences
        if is_out_of_memory(error) and count > SMALLEST_CHUNK:
            sequence.chunk_limit = count // 2
            self._scheduler.isolate(sequences)
            return
        request, _ = self._runs[sequence]
        named = name_out_of_memory(error, self._ready.device.name)
        self._end(request, request_error(request.key, named))

    def _read(self) -> int:
        """
        Waits for the step that is unread, and sends what it has brought: one message with the tokens of all
        requests. How many steps that were, one or none.
        """
        if self._launched is None:
            return 0
        items: list[TokensItem] = []
        advanced: list[tuple[Request, Generation]] = []
        tokens = [pair for launch in self._launched for pair in launch.read()]
        self._launched = None
        now = time.monotonic()
        for sequence, token in tokens:
            request, generation = run = self._runs[sequence]
            sequence.read(token)
            request.clock.sampled(now)
            generation.take(token)
            # Before the tokens that bring it about: an attempt that goes on after them says it no more.
            if warning := generation.take_warning():
                self._emit(warning)
            if item := generation.drain():
                items.append(item)
            advanced.append(run)
        if items:
            self._emit(Tokens(items=items))
        for request, generation in advanced:
            if generation.finish_reason is not None:
                self._end(request, done(request, generation.finish_reason))
        return 1
