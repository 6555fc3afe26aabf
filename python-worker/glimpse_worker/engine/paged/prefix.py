"""What a page of the KV cache holds, as a key: equal keys mean equal keys and values."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from hashlib import blake2b

import numpy as np

from .spans import Span

_ROOT = b""


class PrefixKeys:
    """
    The keys of a sequence's full pages. A key covers all tokens up to the end of its page, and what the
    placeholder tokens among them show: the same picture under another question gives the same keys up to
    where the questions part.
    """

    def __init__(self, spans: Sequence[Span], page_size: int) -> None:
        self._spans = spans
        self._starts = [span.start for span in spans]
        self._page_size = page_size
        self._keys: list[bytes] = []

    def up_to(self, ids: Sequence[int]) -> list[bytes]:
        """The keys of the pages that `ids`, which only ever grows, fills."""
        size = self._page_size
        while (len(self._keys) + 1) * size <= len(ids):
            start = len(self._keys) * size
            self._keys.append(self._key(ids[start : start + size], start))
        return self._keys

    def _key(self, ids: Sequence[int], start: int) -> bytes:
        digest = blake2b(self._keys[-1] if self._keys else _ROOT, digest_size=16)
        digest.update(np.asarray(ids, dtype=np.int32).tobytes())
        # What a span shows counts from the page on in which it begins; later pages build upon that one's key.
        end = start + self._page_size
        first = bisect_left(self._starts, start)
        for span in self._spans[first : bisect_left(self._starts, end)]:
            digest.update(span.shown.key)
        return digest.digest()
