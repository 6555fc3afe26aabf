"""One request on board of the paged engine."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence as List
from dataclasses import dataclass

from ...output import Output
from ...protocol import (
    Done,
    FinishReason,
    Frame,
    Generate,
    Part,
    RequestKey,
    RequestWarning,
    Timing,
    TokensItem,
    Usage,
)
from .sequence import Sequence
from .shown import Shown


@dataclass(frozen=True, slots=True)
class Thinking:
    """
    How to bound the thinking: after `limit` ids of it, the ids of `close` are written, which end it; for a
    limit of 0 those of `skip`, before anything else.
    """

    limit: int
    close: List[int]
    skip: List[int]


class Clock:
    """When things happened to a request first, by time.monotonic."""

    def __init__(self) -> None:
        self._submitted = time.monotonic()
        self._preparing: float | None = None
        self._prepared: float | None = None
        self._started: float | None = None
        self._first: float | None = None
        self._last: float | None = None

    def prepared(self, since: float) -> None:
        if self._prepared is None:
            self._preparing, self._prepared = since, time.monotonic()

    def started(self, now: float) -> None:
        """Its first tokens are launched."""
        if self._started is None:
            self._started = now

    def sampled(self, now: float) -> None:
        """A token of it was read."""
        if self._first is None:
            self._first = now
        self._last = now

    def timing(self) -> Timing:
        """What has not happened yet counts as happening now."""
        # The pool may set both at this very moment, the second after the first: read in the other order, and
        # before the time, they give no negative one.
        prepared, preparing = self._prepared, self._preparing
        now = time.monotonic()
        preparing = preparing or now
        prepared = prepared or now
        started = self._started or now
        first = self._first or (now if self._started else started)
        last = self._last or first
        return Timing(
            queue_ms=1000 * (preparing - self._submitted + started - prepared),
            preprocess_ms=1000 * (prepared - preparing),
            prefill_ms=1000 * (first - started),
            decode_ms=1000 * (last - first),
        )


class Request:
    """A request from when it is taken on board; it can run once it has been prepared."""

    def __init__(self, message: Generate, frames: List[Frame], order: int) -> None:
        self.message = message
        self.frames = frames
        self.order = order
        """When it came; the lower goes first."""
        self.cancelled = threading.Event()
        """Set when nobody waits for it any more; the pool that prepares it looks at it."""
        self.clock = Clock()
        self.generation: Generation | None = None

    @property
    def key(self) -> RequestKey:
        return self.message.key


class Generation:
    """A prepared request's way from ids to parts: a function of the ids, whoever generated them."""

    def __init__(
        self,
        key: RequestKey,
        sequence: Sequence,
        shown: Shown,
        output: Output,
        thinking: Thinking | None,
    ) -> None:
        self.key = key
        self.sequence = sequence
        self.shown = shown
        self.finish_reason: FinishReason | None = None
        self._output = output
        self._thinking = thinking
        self._sent = 0
        self._ids: list[int] = []
        self._parts: list[Part] = []

    def begin(self, generated: List[int]) -> None:
        """
        Takes up what an earlier attempt has generated, and what follows from it without the model, which is
        sent with the first token that the model gives. May set `finish_reason`: an attempt that had come to
        its end has sent, with its last token, all that was held back.
        """
        if generated:
            self._output.push(generated)
            self._output.take_warning(self.key)
            self._sent = len(generated)
            self._go_on()
            if self.finish_reason is not None and not self._ids:
                self._parts.clear()
        elif self._thinking is not None and self._thinking.limit == 0:
            self._write(self._thinking.skip)

    def take(self, token: int) -> None:
        """The next token, which `sequence` has read. May set `finish_reason`."""
        self._push([token])
        self._go_on()

    def cancel(self) -> None:
        self._finish("cancelled")

    def drain(self) -> TokensItem | None:
        """What is new since the last call."""
        if not self._ids and not self._parts:
            return None
        request, attempt = self.key
        item = TokensItem(
            request=request, attempt=attempt, index=self._sent, ids=self._ids, parts=self._parts
        )
        self._sent += len(self._ids)
        self._ids, self._parts = [], []
        return item

    def take_warning(self) -> RequestWarning | None:
        return self._output.take_warning(self.key)

    def usage(self) -> Usage:
        sequence, output = self.sequence, self._output
        return Usage(
            prompt_tokens=sequence.prompt_length,
            image_tokens=sum(span.count for span in sequence.spans),
            cached_tokens=min(sequence.reused or 0, sequence.prompt_length),
            cached_image_tokens=self.shown.cached_tokens,
            thinking_tokens=output.thinking_tokens,
            completion_tokens=output.completion_tokens,
        )

    def _go_on(self) -> None:
        """What follows from the ids so far: the end of the thinking, or the end."""
        thinking, output = self._thinking, self._output
        if self._end() or thinking is None:
            return
        if output.thinking and output.thought_length >= thinking.limit:
            self._write(thinking.close)

    def _write(self, ids: List[int]) -> None:
        """Goes on with ids that the model has not chosen."""
        room = self.sequence.max_new_tokens - self._output.completion_tokens
        self.sequence.append(ids[:room])
        self._push(ids[:room])
        self._end()

    def _push(self, ids: List[int]) -> None:
        self._ids += ids
        self._parts += self._output.push(ids)

    def _end(self) -> bool:
        if self._output.stopped:
            self._finish("stop")
        elif self._output.completion_tokens >= self.sequence.max_new_tokens:
            self._finish("length")
        return self.finish_reason is not None

    def _finish(self, reason: FinishReason) -> None:
        self.finish_reason = reason
        self._parts += self._output.finish()


def done(request: Request, reason: FinishReason) -> Done:
    """The good ending; a request that was never prepared has used no token."""
    generation = request.generation
    usage = generation.usage() if generation else Usage(**_NO_TOKENS)
    return Done(
        request=request.key.request,
        attempt=request.key.attempt,
        finish_reason=reason,
        usage=usage,
        timing=request.clock.timing(),
    )


_NO_TOKENS = {
    "prompt_tokens": 0,
    "image_tokens": 0,
    "cached_tokens": 0,
    "cached_image_tokens": 0,
    "thinking_tokens": 0,
    "completion_tokens": 0,
}
