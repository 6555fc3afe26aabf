"""Token ids to text while they arrive, never half a character."""

from __future__ import annotations

from collections.abc import Callable, Sequence

Decode = Callable[[Sequence[int]], str]
"""Ids to text. Byte-level: the bytes of the tokens joined, and what is not UTF-8 replaced by U+FFFD."""

REPLACEMENT = "\ufffd"
WINDOW = 12
"""Ids after which a window is shortened that never ends cleanly; an unfinished character has three bytes."""


class Detokenizer:
    """The texts it gives, joined, are `decode` of all ids; none holds a character that a later id can change.

    Bytes that break off become U+FFFD in `decode`, one for each broken sequence, and only the last of them
    can still turn into a character. So the window holds the ids since the last place where the text ended
    with anything else.
    """

    def __init__(self, decode: Decode) -> None:
        self._decode = decode
        self._window: list[int] = []
        self._given = 0

    def push(self, ids: Sequence[int]) -> str:
        """The text that has become certain with these ids."""
        self._window.extend(ids)
        text = self._decode(self._window)
        if not text.endswith(REPLACEMENT):
            return self._close(text)
        new = text[self._given : -1]
        self._given = len(text) - 1
        if len(self._window) > WINDOW:
            self._shorten(text)
        return new

    def finish(self) -> str:
        """What is left of bytes that never became a character, as `decode` gives them."""
        return self._close(self._decode(self._window))

    def _close(self, text: str) -> str:
        new = text[self._given :]
        self._window.clear()
        self._given = 0
        return new

    def _shorten(self, text: str) -> None:
        """Cuts the window where a character ends: where its halves, decoded apart, give the same text."""
        for cut in range(len(self._window) - 1, 0, -1):
            tail = self._decode(self._window[cut:])
            if tail and self._decode(self._window[:cut]) + tail == text:
                del self._window[:cut]
                self._given = len(tail) - 1
                return
