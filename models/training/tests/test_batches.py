"""Which batch a step sees depends on its number alone, and a worker that fails ends the run."""

from __future__ import annotations

from contextlib import closing

import pytest
import torch

from models.training.batches import (
    BLOCK,
    Feed,
    MakeBatch,
    WorkerFailed,
    Workers,
    batch_of,
    batches_needed,
)
from models.training.packing import Arrays
from models.training.recipe import SMALL
from models.training.train import batch_maker

CPU = torch.device("cpu")


def fed(make: MakeBatch, start: int, stop: int, *, processes: int, reuse: int = 1) -> list[torch.Tensor]:
    """What every step sees."""
    numbers = batches_needed(start, stop, reuse)
    seen = []
    with (
        closing(Workers(SMALL.layout, make, numbers, processes=processes, slots=3)) as workers,
        closing(Feed(workers, CPU, start, stop, reuse=reuse)) as feed,
    ):
        for step in range(start, stop):
            batch = torch.empty(SMALL.layout.size, dtype=torch.uint8)
            feed.load(step, batch)
            seen.append(batch)
    return seen


def test_batches_are_the_same_and_in_order_whatever_the_number_of_processes() -> None:
    by_one = fed(batch_maker(SMALL, 0), 0, 6, processes=1)
    by_three = fed(batch_maker(SMALL, 0), 0, 6, processes=3)
    resumed = fed(batch_maker(SMALL, 0), 4, 6, processes=2)
    assert all(torch.equal(one, other) for one, other in zip(by_one, by_three, strict=True))
    assert all(torch.equal(one, other) for one, other in zip(by_one[4:], resumed, strict=True))
    assert not torch.equal(by_one[0], by_one[1])


def _number(number: int, arrays: Arrays) -> None:
    arrays["positions"][0, 0] = number


@pytest.mark.parametrize("start", [0, 10, BLOCK + 10, 2 * BLOCK])
def test_every_batch_comes_again_a_block_later(start: int) -> None:
    batches = fed(_number, start, 5 * BLOCK, processes=2, reuse=2)
    numbers = [int(SMALL.layout.tensors(batch)["positions"][0, 0]) for batch in batches]
    assert numbers == [batch_of(step, 2) for step in range(start, 5 * BLOCK)]
    assert batch_of(3, 2) == batch_of(3 + BLOCK, 2) == 3


def test_an_exception_in_a_worker_ends_the_run_with_its_traceback() -> None:
    def fail_at_two(number: int, arrays: Arrays) -> None:
        _number(number, arrays)
        if number == 2:
            raise ValueError("no such colour")

    with pytest.raises(WorkerFailed, match=r"(?s)batch 2 could not be made.*ValueError: no such colour"):
        fed(fail_at_two, 0, 6, processes=2)
