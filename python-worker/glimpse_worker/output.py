"""One request's output: generated ids in, parts out."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Collection, Mapping, Sequence

from .boxes import BoxPlace, BoxReader
from .geometry import Geometry
from .parts import Parser
from .protocol import Part, RequestKey, RequestWarning
from .text import Decode, Detokenizer


class Output:
    """The state between a request's ids and its parts: a pure function of the ids, however they are cut into
    pushes.

    `decode` is tokenizer.decode with skip_special_tokens=False and clean_up_tokenization_spaces=False.
    `geometries` has one entry per picture, page or video of the request, in the order of `media`; `places`
    tells which each is, where that does not follow from its index. `stop` strings are looked for in the
    answer only. A stop token is known by its id: its text, and what would follow it, is markup. With `tags`,
    so are the tags: what spells one is text.
    """

    def __init__(
        self,
        decode: Decode,
        *,
        stop_token_ids: Collection[int],
        stop: Sequence[str] = (),
        geometries: Sequence[Geometry] = (),
        places: Sequence[BoxPlace] = (),
        tags: Mapping[int, str] | None = None,
    ) -> None:
        self._stop_token_ids = frozenset(stop_token_ids)
        self._stop_token_met = False
        self._tags = tags
        self._detokenizer = Detokenizer(decode)
        self._boxes = BoxReader(geometries, places)
        self._parser = Parser(stop, self._boxes)
        self._boxes_warned = False
        self._length = 0
        self._thought_length = 0
        self._starts: list[int] = []
        """For each id, how many characters were certain before it."""

    def push(self, ids: Sequence[int]) -> list[Part]:
        """Takes the next generated ids, the stop token included; gives what has become certain."""
        for token in ids:
            was_thinking = self.thinking
            if token in self._stop_token_ids:
                self._take(self._detokenizer.finish())
                self._parser.end()
                self._stop_token_met = True
            tag = None if self._tags is None else self._tags.get(token)
            if tag is not None:
                self._take(self._detokenizer.finish())
            self._starts.append(self._length)
            if tag is None:
                self._take(self._detokenizer.push([token]))
            else:
                self._length += len(tag)
                self._parser.push_tag(tag)
            self._thought_length += was_thinking and self.thinking
        return self._parser.drain()

    def finish(self) -> list[Part]:
        """Gives what was held back. Call it once, when nothing more will be generated."""
        self._take(self._detokenizer.finish())
        self._parser.end()
        return self._parser.drain()

    @property
    def stopped(self) -> bool:
        """Whether a stop token or a stop string was met: generate no further, the finish reason is `stop`."""
        return self._stop_token_met or self._parser.stop_met

    @property
    def thinking(self) -> bool:
        """Whether the thinking has begun and not ended."""
        return self._parser.thinking

    @property
    def thought_length(self) -> int:
        """
        How many ids came between `<think>` and the tag that ends the thought, so far. A tag that is spelled
        out, as by no model that has a token for it, counts as thought until its last id.
        """
        return self._thought_length

    @property
    def completion_tokens(self) -> int:
        """How many ids there were, the stop token included."""
        return len(self._starts)

    @property
    def thinking_tokens(self) -> int:
        """How many of the ids were spent on thinking, its tags included; exact after `finish`."""
        spans = self._parser.thoughts()
        return sum(bisect_left(self._starts, end) - bisect_left(self._starts, start) for start, end in spans)

    def take_warning(self, key: RequestKey) -> RequestWarning | None:
        """BOX_IMAGE_ASSUMED, once, from when a box was assumed to be in the last of several pictures."""
        if not self._boxes.image_assumed or self._boxes_warned:
            return None
        self._boxes_warned = True
        return RequestWarning(
            request=key.request,
            attempt=key.attempt,
            code="BOX_IMAGE_ASSUMED",
            message="the answer does not say which picture its boxes are in; the last one was assumed",
        )

    def _take(self, text: str) -> None:
        self._length += len(text)
        if self._tags is None:
            self._parser.push(text)
        else:
            self._parser.push_plain(text)
