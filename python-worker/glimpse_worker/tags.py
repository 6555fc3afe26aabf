"""The tags of GLM-4.1V's answers, found while the text arrives."""

from __future__ import annotations

import re

THINK = "<think>"
END_THINK = "</think>"
ANSWER = "<answer>"
END_ANSWER = "</answer>"
BOX = "<|begin_of_box|>"
END_BOX = "<|end_of_box|>"

TAGS = frozenset((THINK, END_THINK, ANSWER, END_ANSWER, BOX, END_BOX))
"""All begin with "<", have no second one, and none begins another: a match is never in doubt."""

_any_tag = re.compile(f"({'|'.join(map(re.escape, sorted(TAGS)))})")


class TagScanner:
    """Cuts text into tags and what is between them; holds back an end that may be the beginning of a tag."""

    def __init__(self) -> None:
        self._tail = ""

    def push(self, text: str) -> list[str]:
        """Pieces in order: each is one whole tag, or text without any."""
        pieces = _any_tag.split(self._tail + text)
        rest = pieces.pop()
        cut = rest.rfind("<")
        if cut < 0 or not any(tag.startswith(rest[cut:]) for tag in TAGS):
            cut = len(rest)
        self._tail = rest[cut:]
        pieces.append(rest[:cut])
        return [piece for piece in pieces if piece]

    def finish(self) -> str:
        """What was held back; it is no tag."""
        tail, self._tail = self._tail, ""
        return tail
