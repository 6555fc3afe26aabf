"""What the vision tower made of earlier pictures, kept on the device by content, up to so many bytes."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence

from torch import Tensor

from ...decoding import Remembered

MAX_REMEMBERED = 4096
"""Media whose geometry is kept: a few hundred bytes each, so their number may exceed that of the features."""


class FeatureCache:
    """
    Features by the keys of `media_keys`; the least recently used leave first. With them, what `prepare` has
    to know of their media so that it need not decode them. Any thread may call.
    """

    def __init__(self, capacity_bytes: int) -> None:
        self._capacity = capacity_bytes
        self._bytes = 0
        self._features: OrderedDict[bytes, Tensor] = OrderedDict()
        self._remembered: OrderedDict[tuple[bytes, ...], Remembered] = OrderedDict()
        self._lock = threading.Lock()

    @property
    def used_bytes(self) -> int:
        return self._bytes

    def get(self, key: bytes) -> Tensor | None:
        with self._lock:
            return self._get(key)

    def put(self, key: bytes, features: Tensor) -> None:
        """
        Keeps `features`, (tokens, hidden), unless they alone exceed the capacity. Those of a key that is
        there already are the same, and are not stored again.
        """
        with self._lock:
            if self._get(key) is not None or features.nbytes > self._capacity:
                return
            while self._bytes + features.nbytes > self._capacity:
                _, evicted = self._features.popitem(last=False)
                self._bytes -= evicted.nbytes
            self._features[key] = _alone(features)
            self._bytes += features.nbytes

    def remember(self, keys: Sequence[bytes], medium: Remembered) -> None:
        """What to tell of the medium of these keys once its features are here."""
        with self._lock:
            self._remembered[tuple(keys)] = medium
            self._remembered.move_to_end(tuple(keys))
            if len(self._remembered) > MAX_REMEMBERED:
                self._remembered.popitem(last=False)

    def recall(self, keys: Sequence[bytes]) -> Remembered | None:
        """
        What was remembered of the medium of these keys, if the features of all of them are here; they count
        as used now. They may leave again: whoever relies on them calls `get` at once, and may find them gone.
        """
        with self._lock:
            medium = self._remembered.get(tuple(keys))
            if medium is None or any(key not in self._features for key in keys):
                return None
            self._remembered.move_to_end(tuple(keys))
            for key in keys:
                self._features.move_to_end(key)
            return medium

    def _get(self, key: bytes) -> Tensor | None:
        features = self._features.get(key)
        if features is not None:
            self._features.move_to_end(key)
        return features


def _alone(features: Tensor) -> Tensor:
    """A view of a batch's features would keep those of the whole batch."""
    return features.clone() if features.untyped_storage().nbytes() > features.nbytes else features
