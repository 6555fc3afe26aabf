"""Sets of token ids as bits: bit `id % 32` of word `id // 32`."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

Bitmask = npt.NDArray[np.int32]
"""One set, or one in each row."""

EVERYTHING = -1
"""A word of the set of all ids."""


def words(vocabulary: int) -> int:
    """How many words have a bit for every id."""
    return -(-vocabulary // 32)


def only(ids: Iterable[int], vocabulary: int) -> Bitmask:
    """Of the ids of the vocabulary, those of `ids`."""
    bits = np.zeros(32 * words(vocabulary), dtype=np.uint8)
    bits[[id for id in ids if id < vocabulary]] = 1
    return np.packbits(bits, bitorder="little").view("<i4").astype(np.int32, copy=False)


def all_but(ids: Iterable[int], vocabulary: int) -> Bitmask:
    """Every id of the vocabulary but those of `ids`."""
    return only(sorted({*range(vocabulary)} - {*ids}), vocabulary)


def unpacked(mask: Bitmask, vocabulary: int) -> npt.NDArray[np.bool_]:
    """(vocabulary,): whether each id is in it."""
    bits = np.unpackbits(np.ascontiguousarray(mask).view(np.uint8), count=vocabulary, bitorder="little")
    return bits.view(np.bool_)
