"""One request on the scripted engine."""

from __future__ import annotations

import time
from collections.abc import Sequence

from ..budget import new_token_budget
from ..failure import WorkerFailure
from ..geometry import Geometry
from ..output import Output
from ..protocol import (
    ChatMessage,
    Done,
    FinishReason,
    Generate,
    Part,
    RequestPrepared,
    RequestWarning,
    TextContent,
    Timing,
    TokensItem,
    Usage,
)
from .script import STOP_TOKEN_ID, Script, ScriptedFault, decode, encode, read_script

CONTEXT_LENGTH = 65_536
FAULT_PAUSE_S = 0.3
"""Before a fault, so that what was said before it is on its way."""
PICTURE = Geometry.unpadded(1000, 1000)
"""Pictures are not looked at: each counts as one token and as so many pixels."""


def text_tokens(messages: Sequence[ChatMessage]) -> int:
    contents = (content for message in messages for content in message.content)
    return sum(len(encode(content.text)) for content in contents if isinstance(content, TextContent))


class Run:
    """The state of one request; only the engine's thread steps it."""

    def __init__(self, request: Generate, frames: int) -> None:
        self.key = request.key
        self.cancelled = False
        self.due = 0.0
        """When the next step is, by time.monotonic()."""
        self.finish_reason: FinishReason | None = None
        self._request = request
        self._resumed = request.generated or ()
        self._frames = frames
        self._prompt_tokens = frames + text_tokens(request.messages)
        self._output = Output(
            decode,
            stop_token_ids=(STOP_TOKEN_ID,),
            stop=request.options.stop or (),
            geometries=[PICTURE] * len(request.media),
        )
        self._script: Script | None = None
        self._fault: ScriptedFault | None = None
        self._budget = 0
        self._notices: list[RequestPrepared | RequestWarning] = []
        now = time.monotonic()
        self._submitted = self._started = self._prepared = self._first = self._last = now

    def start(self) -> None:
        """Does nothing but for the first time. Raises WorkerFailure for a request that cannot be played."""
        if self._script is not None:
            return
        script = None if self.cancelled else read_script(self._request)
        if script is not None and script.ids[: len(self._resumed)] != tuple(self._resumed):
            raise WorkerFailure("INVALID_REQUEST", "generated: the script does not begin with these ids")
        # Their parts, and the warnings, were sent by the earlier attempt.
        self._output.push(self._resumed)
        self._output.take_warning(self.key)
        if script is None:
            return
        self._script, self._fault = script, script.fault
        self._started = time.monotonic()
        asked = self._request.options.max_new_tokens
        self._budget, cut = new_token_budget(
            self.key,
            asked,
            prompt_tokens=self._prompt_tokens,
            image_tokens=self._frames,
            context_length=CONTEXT_LENGTH,
        )
        self._notices.append(
            RequestPrepared(
                request=self.key.request,
                attempt=self.key.attempt,
                prompt_tokens=self._prompt_tokens,
                image_tokens=self._frames,
            )
        )
        if cut is not None and not self._resumed:
            self._notices.append(cut)
        self._prepared = self._first = self._last = time.monotonic()
        self._finish_if_over()

    def take_notices(self) -> list[RequestPrepared | RequestWarning]:
        """What there is to say beside tokens, since the last call."""
        notices, self._notices = self._notices, []
        return notices

    def take_fault(self) -> ScriptedFault | None:
        """What is to be played before the next id, once; a cancel does not prevent it any more."""
        if self._script is None or self._output.completion_tokens != self._script.fault_at:
            return None
        fault, self._fault = self._fault, None
        return fault

    def step(self) -> TokensItem:
        """Plays the next id, unless there is none, or ends as cancelled; sets `finish_reason` at the end."""
        index = self._output.completion_tokens
        ids: list[int] = []
        parts: list[Part] = []
        if self._script is None or self.cancelled:
            self.finish_reason = "cancelled"
            parts += self._output.finish()
        elif self.finish_reason is None:
            ids.append(self._script.ids[index])
            parts += self._output.push(ids)
            self._schedule(self._script)
            # What is held back goes with the last id; so an earlier attempt that came to its end has sent it.
            if self.finish_reason is not None:
                parts += self._output.finish()
        if warning := self._output.take_warning(self.key):
            self._notices.append(warning)
        return TokensItem(
            request=self.key.request, attempt=self.key.attempt, index=index, ids=ids, parts=parts
        )

    def done(self, finish_reason: FinishReason) -> Done:
        return Done(
            request=self.key.request,
            attempt=self.key.attempt,
            finish_reason=finish_reason,
            usage=Usage(
                prompt_tokens=self._prompt_tokens,
                image_tokens=self._frames,
                cached_tokens=0,
                cached_image_tokens=0,
                thinking_tokens=self._output.thinking_tokens,
                completion_tokens=self._output.completion_tokens,
            ),
            timing=Timing(
                queue_ms=1000 * (self._started - self._submitted),
                preprocess_ms=1000 * (self._prepared - self._started),
                prefill_ms=1000 * (self._first - self._prepared),
                decode_ms=1000 * (self._last - self._first),
            ),
        )

    def _schedule(self, script: Script) -> None:
        played = self._output.completion_tokens
        self._last = time.monotonic()
        if played == len(self._resumed) + 1:
            self._first = self._last
        self._finish_if_over()
        pause = FAULT_PAUSE_S if played == script.fault_at else script.pauses_s[played % len(script.pauses_s)]
        self.due = self._last + pause

    def _finish_if_over(self) -> None:
        if self._output.stopped:
            self.finish_reason = "stop"
        elif self._output.completion_tokens >= self._budget:
            self.finish_reason = "length"
