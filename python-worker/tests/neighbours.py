"""Ways of cutting, and parts without the way in which they came."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hypothesis import strategies as st

from glimpse_worker.protocol import BoxPart, Part


def edges_of(whole: Sequence[Any]) -> st.SearchStrategy[Sequence[int]]:
    """Where to cut it: piece by piece as a model writes, or anywhere."""
    anywhere = st.lists(st.integers(0, len(whole))).map(lambda cuts: [0, *sorted(cuts), len(whole)])
    return st.just(range(len(whole) + 1)) | anywhere


def merged(parts: Sequence[Part]) -> list[Part]:
    """The same with neighbours of a kind as one."""
    out: list[Part] = []
    for part in parts:
        last = out[-1] if out else None
        if not isinstance(part, BoxPart) and last is not None and isinstance(last, type(part)):
            out[-1] = type(part)(last.text + part.text)
        else:
            out.append(part)
    return out
