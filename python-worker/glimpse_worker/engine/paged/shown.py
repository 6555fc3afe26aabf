"""What the placeholder tokens of a request show: pixels at first, then what the vision tower made of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from torch import Tensor

from .features import FeatureCache
from .runner import Placed
from .sequence import Chunk
from .spans import Span
from .vision import VisionTower


@dataclass(slots=True)
class Shown:
    """
    One request's patchworks by key: `features` of those that were in the cache or have been encoded, `pixels`
    of the others. Empty once no span is left to be computed, as both are large.
    """

    spans: Sequence[Span]
    pixels: dict[bytes, Tensor] = field(default_factory=dict)
    features: dict[bytes, Tensor] = field(default_factory=dict)
    encoded_tokens: int = 0
    """How many placeholder tokens the tower has computed for this request."""
    reached: int = 0
    """The most tokens of the sequence, from its beginning, that have been computed or were in the cache."""

    @property
    def cached_tokens(self) -> int:
        """How many of the placeholder tokens that have been reached did not need the tower."""
        reached = sum(span.count for span in self.spans if span.start < self.reached)
        return max(0, reached - self.encoded_tokens)

    @property
    def dropped(self) -> bool:
        """Whether there are spans, but nothing to compute them from any more."""
        return bool(self.spans) and not self.pixels and not self.features

    def reach(self, end: int) -> None:
        """The first `end` tokens have been computed; lets go of everything when all spans are among them."""
        self.reached = max(self.reached, end)
        if self.spans and end >= self.spans[-1].end:
            self.pixels.clear()
            self.features.clear()


class Encoder:
    """Sees to it that the features a batch needs are there: from the cache, or from the tower in one go."""

    def __init__(self, tower: VisionTower, cache: FeatureCache) -> None:
        self._tower = tower
        self._cache = cache

    def place(self, chunks: Sequence[Chunk], shown: Sequence[Shown]) -> list[Placed]:
        """
        The features that stand in for the embeddings of the chunks' placeholder tokens; `shown` has an entry
        for each chunk.
        """
        pairs = list(zip(chunks, shown, strict=True))
        self._encode([(source, span) for chunk, source in pairs for span in _within(source.spans, chunk)])
        placed: list[Placed] = []
        row = 0
        for chunk, source in pairs:
            for span in _within(source.spans, chunk):
                start, end = max(span.start, chunk.start), min(span.end, chunk.end)
                features = source.features[span.shown.key][start - span.start : end - span.start]
                placed.append(Placed(row + start - chunk.start, features))
            row += chunk.count
        return placed

    def _encode(self, needed: Sequence[tuple[Shown, Span]]) -> None:
        missing: dict[bytes, Tensor] = {}
        encoders: dict[bytes, tuple[Shown, Span]] = {}
        for shown, span in needed:
            key = span.shown.key
            if key in shown.features:
                continue
            cached = self._cache.get(key)
            if cached is not None:
                shown.features[key] = cached
            elif key not in missing:
                missing[key] = shown.pixels[key]
                encoders[key] = (shown, span)
        if not missing:
            return
        features = dict(zip(missing, self._tower.encode(list(missing.values())), strict=True))
        for key, tensor in features.items():
            self._cache.put(key, tensor)
            shown, span = encoders[key]
            shown.encoded_tokens += span.count
        for shown, span in needed:
            if span.shown.key in features:
                shown.features[span.shown.key] = features[span.shown.key]
                shown.pixels.pop(span.shown.key, None)


def _within(spans: Sequence[Span], chunk: Chunk) -> list[Span]:
    return [span for span in spans if span.start < chunk.end and span.end > chunk.start]
