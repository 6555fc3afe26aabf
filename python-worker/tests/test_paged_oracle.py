"""
The paged engine gives what transformers gives for one request at a time, whatever else it computes, whatever
it finds in its caches and however often a request is interrupted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from random import Random

import pytest
import torch
from crowd import Asked, Visit, crowd
from embedded import Answer
from oracle import Told, oracle
from paged import PagedCaller

from glimpse_worker.engine.paged.assembly import Sizes
from glimpse_worker.protocol import Done, Error

SEED = 20260730
NEAR = 1e-4
"""Scores nearer to each other than this may change places where sums are made in another order."""
MAX_EXCUSED = 2

SMALL = Sizes(page_size=16, max_running=12, ahead=8, token_budget=96, lookahead=0)


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """The model is so small that more threads only wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


class Verdict:
    """Collects what differs from the oracle, and what of that may: where two ids were as good."""

    def __init__(self, near: float = NEAR) -> None:
        self.wrong: list[str] = []
        self.excused = 0
        self._near = near

    def compare(self, name: str, ids: Sequence[int], told: Told, *, cut: bool = False) -> None:
        """`cut`: `ids` are no more than a beginning."""
        pairs = zip(ids, told.ids, strict=False)
        different = next((index for index, (a, b) in enumerate(pairs) if a != b), None)
        if different is None:
            if len(ids) != len(told.ids) and not (cut and len(ids) < len(told.ids)):
                self.wrong.append(f"{name}: {len(ids)} ids, expected {len(told.ids)}")
        elif told.margins[different] < self._near:
            self.excused += 1
        else:
            self.wrong.append(
                f"{name}: {oracle().text(ids)!r} for {oracle().text(told.ids)!r}, "
                f"from id {different} on, by a margin of {told.margins[different]:.1e}"
            )

    def check(self) -> None:
        print(f"{self.excused} excused, {len(self.wrong)} wrong")
        assert not self.wrong, "\n".join(self.wrong)
        assert self.excused <= MAX_EXCUSED


@pytest.fixture(scope="module")
def everybody() -> list[Asked]:
    print(f"seed {SEED}")
    return crowd(Random(SEED))


@pytest.mark.parametrize("lookahead", [0, 1])
def test_a_crowd_with_too_little_memory_gets_what_transformers_gives_one_by_one(
    everybody: list[Asked], lookahead: int
) -> None:
    caller = PagedCaller(
        Sizes(page_size=8, max_running=12, ahead=8, token_budget=96, lookahead=lookahead),
        cache_tokens=544,
        feature_tokens=200,
    )
    answers = Visit(caller, everybody, Random(SEED + lookahead)).answers
    verdict = Verdict()
    left: Counter[str] = Counter()
    for number, (asked, answer) in enumerate(zip(everybody, answers, strict=True)):
        told = asked.expected()
        done = answer.done
        if done.finish_reason == "cancelled":
            assert asked.leaves is not None
            left[asked.leaves] += 1
        else:
            assert done.finish_reason == ("stop" if told.stopped else "length")
            assert done.usage.prompt_tokens == told.prompt_tokens
        assert done.usage.completion_tokens == len(answer.ids)
        verdict.compare(f"request {number}", answer.ids, told, cut=done.finish_reason == "cancelled")
    usages = [answer.done.usage for answer in answers]
    print(left, len(caller.watch.preempted), caller.watch.largest_batch)
    print(sum(u.cached_tokens>0 for u in usages), sum(u.cached_tokens>0 and u.image_tokens >0 for u in usages), sum(u.cached_image_tokens>0 for u in usages))
    print(sum(len(answer.ids) for answer in answers))
    verdict.check()
