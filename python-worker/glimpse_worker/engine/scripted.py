"""An engine without a model, for the tests: streams what the request asks for and breaks when told to."""

from __future__ import annotations

import platform
import threading
import time
from collections.abc import Sequence
from typing import assert_never

import msgspec

from ..failure import WorkerFailure, request_error
from ..protocol import (
    Device,
    Done,
    Error,
    Fault,
    Frame,
    Generate,
    PixelLimits,
    Progress,
    Ready,
    RequestKey,
    ScriptedEngine,
    Start,
    Tokens,
    TokensItem,
)
from .faults import Poisoned, babble_while_loading, crash, hang, play_fault
from .interface import Emit, Load
from .pulse import Pulse
from .script import STOP_TOKEN_ID
from .scripted_count import ScriptedCounter
from .scripted_run import CONTEXT_LENGTH, FAULT_PAUSE_S, Run

SLOTS = 4
"""Unless the start line asks for another number."""
LOADING_STEPS = 10
LOADING_STEP_S = 0.1
_limits = PixelLimits(
    patch_size=14, merge_size=2, temporal_patch_size=2, min_pixels=12544, max_pixels=9633792
)


def load_scripted(start: Start, choice: ScriptedEngine, progress: Progress, emit: Emit) -> Scripted:
    """Plays the way of loading that `choice`, the start line's engine, asks for."""
    match choice.load:
        case "normal":
            pass
        case "slow":
            for done in range(LOADING_STEPS):
                progress("weights", done, LOADING_STEPS)
                time.sleep(LOADING_STEP_S)
        case "hang":
            hang()
        case "fail":
            raise WorkerFailure(
                "MODEL_NOT_FOUND",
                f"model: the script has none at {start.model!r}",
                "Ask for another way of loading.",
            )
        case "crash":
            time.sleep(FAULT_PAUSE_S)
            crash()
        case "babble":
            babble_while_loading(progress)
            hang()
        case _:
            assert_never(choice.load)
    return Scripted(start, choice.slots or SLOTS, emit)


class Scripted:
    """Up to `slots` requests at once, stepped together on one thread; the rest wait. See `read_script`."""

    def __init__(self, start: Start, slots: int, emit: Emit) -> None:
        self._slots = slots
        self._emit = emit
        self._waiting: list[Run] = []
        self._running: list[Run] = []
        self._closed = False
        self._changed = threading.Condition()
        self.ready = _ready(start, slots)
        self.counter = ScriptedCounter(emit)
        self.pulse = Pulse()
        threading.Thread(target=self._step_until_closed, name="engine", daemon=True).start()

    @property
    def load(self) -> Load:
        return Load(len(self._running), len(self._waiting))

    def submit(self, request: Generate, frames: Sequence[Frame]) -> None:
        with self._changed:
            self._waiting.append(Run(request, len(frames)))
            self._changed.notify()

    def cancel(self, key: RequestKey) -> None:
        with self._changed:
            for run in (*self._running, *self._waiting):
                if run.key == key:
                    run.cancelled = True
            self._changed.notify()

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify()

    def _step_until_closed(self) -> None:
        while runs := self._wait_for_due():
            self.pulse.begin()
            self._step(runs)
            self.pulse.end()

    def _wait_for_due(self) -> list[Run]:
        """The requests whose pause is over; empty when the engine was closed."""
        with self._changed:
            while not self._closed:
                self._admit()
                now = time.monotonic()
                if due := [run for run in self._running if run.cancelled or run.due <= now]:
                    return due
                next_due = min((run.due for run in self._running), default=None)
                self._changed.wait(None if next_due is None else next_due - now)
        return []

    def _admit(self) -> None:
        free = self._slots - len(self._running)
        admitted = [run for place, run in enumerate(self._waiting) if place < free or run.cancelled]
        self._running.extend(admitted)
        self._waiting = [run for run in self._waiting if run not in admitted]

    def _step(self, runs: Sequence[Run]) -> None:
        items: list[TokensItem] = []
        endings: dict[RequestKey, Done | Error] = {}
        fault: Fault | None = None
        for run in runs:
            try:
                items.append(self._step_one(run))
            except Exception as error:
                endings[run.key] = request_error(run.key, error)
                if isinstance(error, Poisoned):
                    fault = Fault(reason="engine broken", message=f"the engine broke: {error}")
            else:
                if run.finish_reason is not None:
                    endings[run.key] = run.done(run.finish_reason)
        if items:
            self._emit(Tokens(items=items))
        for ending in endings.values():
            self._emit(ending)
        if fault is not None:
            self._emit(fault)
        with self._changed:
            self._running = [run for run in self._running if run.key not in endings]

    def _step_one(self, run: Run) -> TokensItem:
        run.start()
        self._tell(run)
        if fault := run.take_fault():
            play_fault(fault, self._emit)
        item = run.step()
        self._tell(run)
        return item

    def _tell(self, run: Run) -> None:
        for notice in run.take_notices():
            self._emit(notice)


def _ready(start: Start, slots: int) -> Ready:
    return Ready(
        model=start.model,
        engine="scripted",
        dtype=start.dtype,
        device=Device(kind="cpu", id="cpu", name=platform.machine()),
        slots=slots,
        context_length=CONTEXT_LENGTH,
        image_limits=_limits,
        video_limits=_limits,
        stop_token_ids=[STOP_TOKEN_ID],
        versions={"python": platform.python_version(), "msgspec": msgspec.__version__},
    )
