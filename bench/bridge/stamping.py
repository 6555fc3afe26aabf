"""An engine without a model that notes when it gives a message away and when it is given a request."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Sequence

import msgspec

from glimpse_worker.engine.interface import Emit, Load
from glimpse_worker.engine.scripted import Scripted
from glimpse_worker.media_keys import media_keys
from glimpse_worker.protocol import (
    Frame,
    Generate,
    Ready,
    RequestKey,
    Start,
    TextPart,
    Tokens,
    TokensItem,
)

from .answer import answer, text_of

SLOTS = 4
TOKEN_ID = 27_456
TOKEN_TEXT = " word"
"""As long as tokens are on average."""


class Asked(msgspec.Struct, frozen=True):
    """The text of a request, as JSON: so many tokens, one each `pause_s`."""

    tokens: int = 0
    pause_s: float = 0.0


class Stamps(msgspec.Struct, frozen=True):
    """The answer's last text, as JSON. Nanoseconds of CLOCK_MONOTONIC, which Node's hrtime reads too."""

    received: int
    """When the request was there."""
    emitted: Sequence[int] = ()
    """When each message was given away."""
    hashed: int = 0
    """How long it took to name the pictures."""


class Stamping:
    """One request after another: so many tokens, then the stamps as the last text of the answer."""

    def __init__(self, start: Start, emit: Emit) -> None:
        self._emit = emit
        self._submitted: queue.SimpleQueue[tuple[Generate, Sequence[Frame], int]] = queue.SimpleQueue()
        # What the orchestrator has to know of an engine without a model is the same for this one.
        scripted = Scripted(start, SLOTS, emit)
        self.ready: Ready = scripted.ready
        self.pulse = scripted.pulse
        self.counter = scripted.counter
        self.load = Load(0, 0)
        threading.Thread(target=self._run, name="engine", daemon=True).start()

    def submit(self, request: Generate, frames: Sequence[Frame]) -> None:
        received = time.monotonic_ns()
        self._submitted.put((request, frames, received))

    def cancel(self, key: RequestKey) -> None:
        """Its requests are short."""

    def close(self) -> None:
        """Its thread holds nothing up."""

    def _run(self) -> None:
        while True:
            request, frames, received = self._submitted.get()
            hashed = _hash(frames)
            asked = msgspec.json.decode(text_of(request), type=Asked)
            emitted = []
            for index in range(asked.tokens):
                time.sleep(asked.pause_s)
                message = Tokens(items=[token(request.request, request.attempt, index)])
                emitted.append(time.monotonic_ns())
                self._emit(message)
            # The last token has arrived by then, as the others had.
            time.sleep(asked.pause_s)
            stamps = Stamps(received, emitted, hashed)
            answer(self._emit, request, msgspec.json.encode(stamps).decode(), asked.tokens)


def _hash(frames: Sequence[Frame]) -> int:
    """How long it takes to name the pictures, as the engines do for their caches."""
    begun = time.monotonic_ns()
    for frame in frames:
        media_keys("image", [frame], (1000, 1000), 2)
    return time.monotonic_ns() - begun


def token(request: str, attempt: int, index: int) -> TokensItem:
    return TokensItem(
        request=request, attempt=attempt, index=index, ids=[TOKEN_ID], parts=[TextPart(TOKEN_TEXT)]
    )
