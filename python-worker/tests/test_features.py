"""The cache of vision features keeps what was used last, within its bytes, whatever is done to it."""

from __future__ import annotations

import threading

import pytest
import torch
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from glimpse_worker.decoding import Remembered
from glimpse_worker.engine.paged import features
from glimpse_worker.engine.paged.features import FeatureCache
from glimpse_worker.geometry import Geometry

CAPACITY = 100
KEYS = [bytes([number]) * 16 for number in range(8)]
MEDIUM = Remembered((4, 4), Geometry.unpadded(56, 56), ())


def tensor(size: int) -> torch.Tensor:
    return torch.full((size, 1), size, dtype=torch.uint8)


class CacheMachine(RuleBasedStateMachine):
    """The model: a list of (key, size), used last at its end, and what was remembered by which keys."""

    def __init__(self) -> None:
        super().__init__()
        self.cache = FeatureCache(CAPACITY)
        self.kept: list[tuple[bytes, int]] = []
        self.remembered: dict[tuple[bytes, ...], Remembered] = {}

    def use(self, key: bytes) -> int | None:
        found = [entry for entry in self.kept if entry[0] == key]
        self.kept = [entry for entry in self.kept if entry[0] != key] + found
        return found[0][1] if found else None

    @rule(key=st.sampled_from(KEYS), size=st.integers(1, CAPACITY + 20))
    def put(self, key: bytes, size: int) -> None:
        self.cache.put(key, tensor(size))
        if self.use(key) is not None or size > CAPACITY:
            return
        self.kept.append((key, size))
        while sum(size for _, size in self.kept) > CAPACITY:
            self.kept.pop(0)

    @rule(key=st.sampled_from(KEYS))
    def get(self, key: bytes) -> None:
        found, size = self.cache.get(key), self.use(key)
        assert (found is None) == (size is None)
        if found is not None and size is not None:
            assert torch.equal(found, tensor(size))

    @rule(keys=st.lists(st.sampled_from(KEYS), min_size=1, max_size=3), height=st.integers(1, 3))
    def remember(self, keys: list[bytes], height: int) -> None:
        medium = Remembered((height, 4), MEDIUM.geometry, ())
        self.cache.remember(keys, medium)
        self.remembered[tuple(keys)] = medium

    @rule(keys=st.lists(st.sampled_from(KEYS), min_size=1, max_size=3))
    def recall(self, keys: list[bytes]) -> None:
        expected = self.remembered.get(tuple(keys))
        if not set(keys) <= {key for key, _ in self.kept}:
            expected = None
        assert self.cache.recall(keys) == expected
        if expected is not None:
            for key in keys:
                self.use(key)

    @invariant()
    def bytes_are_counted(self) -> None:
        assert self.cache.used_bytes == sum(size for _, size in self.kept) <= CAPACITY


CacheMachine.TestCase.settings = settings(max_examples=60, stateful_step_count=40)
test_the_cache_agrees_with_a_simple_model = CacheMachine.TestCase


def test_features_larger_than_the_cache_are_not_kept_and_push_nothing_out() -> None:
    cache = FeatureCache(CAPACITY)
    cache.put(KEYS[0], tensor(90))
    cache.put(KEYS[1], tensor(CAPACITY + 1))
    assert cache.get(KEYS[1]) is None
    assert cache.get(KEYS[0]) is not None


def test_one_picture_of_a_batch_does_not_keep_the_features_of_the_others() -> None:
    cache = FeatureCache(CAPACITY)
    batch = torch.arange(80, dtype=torch.uint8).view(-1, 1)
    cache.put(KEYS[0], batch[10:20])
    kept = cache.get(KEYS[0])
    assert kept is not None
    assert torch.equal(kept, batch[10:20])
    assert kept.untyped_storage().nbytes() == 10


def test_a_medium_that_is_recalled_keeps_its_features_for_longer() -> None:
    cache = FeatureCache(CAPACITY)
    for key in KEYS[:3]:
        cache.put(key, tensor(CAPACITY // 3))
    cache.remember(KEYS[:2], MEDIUM)
    assert cache.recall(KEYS[:2]) == MEDIUM
    cache.put(KEYS[3], tensor(CAPACITY // 3))
    assert cache.get(KEYS[2]) is None
    assert cache.recall(KEYS[:2]) == MEDIUM


def test_media_are_forgotten_in_the_order_in_which_they_were_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(features, "MAX_REMEMBERED", 2)
    cache = FeatureCache(CAPACITY)
    for key in KEYS[:3]:
        cache.put(key, tensor(1))
    cache.remember(KEYS[:1], MEDIUM)
    cache.remember(KEYS[1:2], MEDIUM)
    assert cache.recall(KEYS[:1]) == MEDIUM
    cache.remember(KEYS[2:3], MEDIUM)
    assert [cache.recall([key]) for key in KEYS[:3]] == [MEDIUM, None, MEDIUM]


def test_threads_may_share_a_cache() -> None:
    cache = FeatureCache(CAPACITY)
    failures: list[Exception] = []

    def work(offset: int) -> None:
        try:
            for step in range(2000):
                key = KEYS[(step + offset) % len(KEYS)]
                cache.put(key, tensor(10 + step % 30))
                cache.remember([key], MEDIUM)
                cache.recall([key])
                cache.get(key)
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(offset,)) for offset in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    held = [found.nbytes for key in KEYS if (found := cache.get(key)) is not None]
    assert cache.used_bytes == sum(held) <= CAPACITY
