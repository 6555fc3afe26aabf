"""Where a prompt shows what: runs of placeholder tokens, one per picture or temporal patch of a video."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby


@dataclass(frozen=True, slots=True)
class Patchwork:
    """
    What the vision tower sees as one thing: a picture, or two frames of a video. `key` names its content;
    `height` and `width` are in patches, before merging.
    """

    key: bytes
    height: int
    width: int


@dataclass(frozen=True, slots=True)
class Span:
    """The tokens of one patchwork: `count` of them, the first at index `start` of the prompt."""

    start: int
    count: int
    shown: Patchwork

    @property
    def end(self) -> int:
        return self.start + self.count


def find_spans(token_types: Sequence[int], shown: Iterable[Patchwork], merge_size: int) -> list[Span]:
    """
    The spans of a prompt, whose placeholder tokens are those of a `token_types` other than 0; `shown` in the
    order of the prompt. Raises ValueError when the two do not fit, which a wrong chat template can cause.
    """
    runs: list[tuple[int, int]] = []
    index = 0
    for kind, run in groupby(token_types):
        count = sum(1 for _ in run)
        if kind != 0:
            runs.append((index, count))
        index += count
    items = list(shown)
    if len(runs) != len(items):
        raise ValueError(f"expected {len(items)} runs of placeholder tokens in the prompt, found {len(runs)}")
    spans = [Span(start, count, item) for (start, count), item in zip(runs, items, strict=True)]
    for span in spans:
        expected = span.shown.height * span.shown.width // merge_size**2
        if span.count != expected:
            raise ValueError(f"{span.count} placeholder tokens at {span.start}, expected {expected}")
    return spans
