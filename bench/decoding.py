"""Many requests that decode at the same time, around a given context."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby, pairwise

from .client import Asked, Step
from .prompts import Texts


def decoding(texts: Texts, streams: int, *, context: int, window: int, token_budget: int) -> list[Asked]:
    """
    Requests that all decode for `window` steps at least, in the middle of which they have `context` tokens on
    average. Those that come first generate while the prompts of the others are computed, `token_budget`
    tokens a step.
    """
    filling = max(1, round(streams * context / token_budget * 1.2)) if streams > 1 else 1
    prompt = context - (filling + window) // 2
    if prompt < 32:
        raise ValueError(
            f"{streams} streams for {window} steps do not fit into a context of {context} tokens"
        )
    return [Asked(texts.of(prompt), max_new_tokens=filling + window + 2) for _ in range(streams)]


def full_steps(steps: Sequence[Step], streams: int) -> list[Step]:
    """The longest run of steps that gave all `streams` a token."""
    longest: list[Step] = []
    for full, run in groupby(steps, key=lambda step: step.tokens == streams):
        if full:
            longest = max(longest, list(run), key=len)
    return longest


def windows(times: Sequence[float], size: int) -> list[float]:
    """The mean step of each `size` steps in a row, given when they ended."""
    ends = times[::size]
    if len(ends) < 2:
        raise ValueError(f"only {len(times)} steps decoded all streams, expected more than {size}")
    return [(after - before) / size for before, after in pairwise(ends)]
