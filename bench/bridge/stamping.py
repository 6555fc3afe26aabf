"""An engine without a model that notes when it gives a message away and when it is given a request."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Sequence

import msgspec

from glimpse_worker.engine.interface import Emit
from glimpse_worker.engine.scripted import Scripted
from glimpse_worker.protocol import (
    Done,
    Frame,
    Generate,
    Ready,
    RequestKey,
    Start,
    TextContent,
    TextPart,
    Timing,
    Tokens,
    TokensItem,
    Usage,
)

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
    emitted: Sequence[int]


class Stamping:
    """One request after another: so many tokens, then the stamps as the last text of the answer."""

    def __init__(self, start: Start, emit: Emit) -> None:
        self._emit = emit
        self._submitted: queue.SimpleQueue[tuple[Generate, int]] = queue.SimpleQueue()
        # What the orchestrator has to know of an engine without a model is the same for this one.
        self.ready: Ready = Scripted(start, SLOTS, emit).ready
        threading.Thread(target=self._run, name="engine", daemon=True).start()

    def submit(self, request: Generate, frames: Sequence[Frame]) -> None:
        received = time.monotonic_ns()
        self._submitted.put((request, received))

    def cancel(self, key: RequestKey) -> None:
        """Its requests are short."""

    def close(self) -> None:
        """Its thread holds nothing up."""

    def _run(self) -> None:
        while True:
            request, received = self._submitted.get()
            asked = msgspec.json.decode(_text(request), type=Asked)
            emitted = []
            for index in range(asked.tokens):
                time.sleep(asked.pause_s)
                message = Tokens(items=[token(request.request, request.attempt, index)])
                emitted.append(time.monotonic_ns())
                self._emit(message)
            # The last token has arrived by then, as the others had.
            time.sleep(asked.pause_s)
            self._report(request, asked.tokens, Stamps(received, emitted))

    def _report(self, request: Generate, tokens: int, stamps: Stamps) -> None:
        text = TextPart(msgspec.json.encode(stamps).decode())
        last = TokensItem(request=request.request, attempt=request.attempt, index=tokens, ids=[], parts=[text])
        self._emit(Tokens(items=[last]))
        self._emit(
            Done(
                request=request.request,
                attempt=request.attempt,
                finish_reason="stop",
                usage=Usage(
                    prompt_tokens=1,
                    image_tokens=0,
                    cached_tokens=0,
                    cached_image_tokens=0,
                    thinking_tokens=0,
                    completion_tokens=tokens,
                ),
                timing=Timing(queue_ms=0, preprocess_ms=0, prefill_ms=0, decode_ms=0),
            )
        )


def token(request: str, attempt: int, index: int) -> TokensItem:
    return TokensItem(
        request=request, attempt=attempt, index=index, ids=[TOKEN_ID], parts=[TextPart(TOKEN_TEXT)]
    )


def _text(request: Generate) -> str:
    contents = (content for message in request.messages for content in message.content)
    return "".join(content.text for content in contents if isinstance(content, TextContent))
