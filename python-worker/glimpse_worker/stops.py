"""Stop strings, found while the text arrives."""

from __future__ import annotations

from collections.abc import Sequence


def find_stop(text: str, stop: Sequence[str]) -> int | None:
    """Where the stop string begins that is complete first; of two complete at once, the longer."""
    ends = [(at + len(string), at) for string in stop if (at := text.find(string)) >= 0]
    return min(ends)[1] if ends else None


def begun_stop(text: str, stop: Sequence[str]) -> int:
    """Where the end of `text` may be the beginning of a stop string; its length if nowhere."""
    return len(text) - max((_overlap(text, string) for string in stop), default=0)


def _overlap(text: str, string: str) -> int:
    """How much of the end of `text` is a beginning of `string`, short of all of it."""
    longest = min(len(text), len(string) - 1)
    return next((size for size in range(longest, 0, -1) if text.endswith(string[:size])), 0)
