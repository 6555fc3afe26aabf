"""The sampler in Triton chooses what the one in torch does. Run by test_kernels.py."""

from __future__ import annotations

import pytest
import torch
from sampler_batch import joined, mask, rows, seen_ids
from torch import Tensor

from glimpse_worker.engine.paged.kernels import sampling
from glimpse_worker.engine.paged.kernels.sampling import TritonSampler
from glimpse_worker.engine.paged.sampler import Rows, TorchSampler

# Two segments, of which the last is not full. More programs take the interpreter long.
VOCABULARY = 101
EVERY_WAY = joined(
    [
        rows(1, temperature=0.0, penalty=1.2),
        rows(1, uniform=0.77),
        rows(1, temperature=0.7, top_p=0.9, penalty=1.3, uniform=0.3),
        rows(1, top_k=3, uniform=0.55),
        rows(1, temperature=1.6, top_k=40, top_p=0.8, penalty=0.9, uniform=0.9),
        rows(1, top_k=2**31 - 1, top_p=0.999, uniform=1 - 2**-24),
        rows(1, top_p=0.0, uniform=0.4),
    ]
)
ALL_ROWS = len(EVERY_WAY.uniform)


@pytest.fixture(autouse=True)
def _few_programs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sampling, "SEGMENT", 64)
    monkeypatch.setattr(sampling, "TILE", 64)
    monkeypatch.setattr(sampling, "BITS_PER_LAUNCH", 4)


def logits_of(
    count: int, dtype: torch.dtype = torch.bfloat16, *, seed: int = 0, vocabulary: int = VOCABULARY
) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return (torch.randn(count, vocabulary, generator=generator) * 3).to(dtype)


def both(
    logits: Tensor,
    wanted: Rows,
    seen: Tensor | None = None,
    slots: Tensor | None = None,
    allowed: Tensor | None = None,
) -> tuple[list[int], list[int]]:
    """What Triton chooses, and what torch does."""
    slots = torch.zeros(len(logits), dtype=torch.int64) if slots is None else slots
    triton, torch_ = (
        sampler.choose(logits.clone(), wanted, seen, slots, allowed).tolist()
        for sampler in (TritonSampler(), TorchSampler())
    )
    return triton, torch_


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_rows_that_ask_for_different_things(dtype: torch.dtype) -> None:
    triton, expected = both(logits_of(ALL_ROWS, dtype), EVERY_WAY)
    assert triton == expected


def test_penalties_and_masks() -> None:
    generator = torch.Generator().manual_seed(1)
    seen = (torch.rand(3, VOCABULARY, generator=generator) < 0.4).to(torch.uint8)
    ids = [torch.randperm(VOCABULARY, generator=generator)[:40].tolist() for _ in range(ALL_ROWS)]
    slots = torch.arange(ALL_ROWS) % 3
    triton, expected = both(logits_of(ALL_ROWS), EVERY_WAY, seen, slots, mask(ids, VOCABULARY))
    assert triton == expected
    assert all(id in among for id, among in zip(triton, ids, strict=True))


def test_programs_of_the_size_that_the_engine_launches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    logits = logits_of(3, vocabulary=2500)
    few = joined(
        [rows(1, top_k=60, top_p=0.7), rows(1, temperature=0.5, uniform=0.99), rows(1, temperature=0)]
    )
    triton, expected = both(logits, few)
    assert triton == expected
    assert triton[1] >= sampling.SEGMENT == 2048


def test_random_numbers_from_0_to_1_give_the_same_ids() -> None:
    flat = (logits_of(1) / 4).expand(10, -1).contiguous()
    triton, expected = both(flat, rows(10, top_p=0.97, uniform=torch.linspace(0, 1 - 2**-24, 10)))
    assert triton == expected
    assert {id // 64 for id in triton} == {0, 1}


def test_ties_are_kept() -> None:
    scores = torch.zeros(VOCABULARY, dtype=torch.bfloat16)
    scores[::2] = -0.0
    scores[[3, 70]] = 1.0
    last = 1 - 2**-24
    asked = joined(
        [rows(1, top_k=5, uniform=0.4), rows(1, top_k=5, uniform=last), rows(1, top_p=0.5, uniform=last)]
    )
    triton, expected = both(scores.expand(3, -1).contiguous(), asked)
    assert triton == expected
    assert triton[1:] == [VOCABULARY - 1] * 2


def test_a_random_number_at_the_border_of_two_ids_gives_the_second() -> None:
    scores = torch.full((VOCABULARY,), -1000.0, dtype=torch.bfloat16)
    equal = [*range(10, 26), *range(70, 86)]
    scores[equal] = 1.0
    borders = torch.tensor([0, 1 / 32, 15 / 32, 16 / 32, 31 / 32])
    triton, expected = both(scores.expand(5, -1).contiguous(), rows(5, uniform=borders))
    assert triton == expected == [10, 11, 25, 70, 85]


def test_the_threshold_is_exact_among_neighbouring_numbers() -> None:
    """Scores without a bfloat16 between them, above 0 and below."""
    rising = 1 + torch.arange(VOCABULARY) / 128
    scores = torch.stack([rising, -rising]).to(torch.bfloat16).repeat(2, 1)
    uniform = torch.tensor([0, 1 - 2**-24])
    asked = joined([rows(2, top_k=5, uniform=uniform), rows(2, top_p=0.4, uniform=uniform)])
    triton, expected = both(scores, asked)
    assert triton == expected
    assert triton[:2] == [VOCABULARY - 5, 4]


def test_greedy_rows_take_the_first_of_equal_scores() -> None:
    scores = torch.zeros(2, VOCABULARY)
    scores[0, [70, 90]] = 1.0
    triton, _ = both(scores, rows(2, temperature=0))
    assert triton == [70, 0]


def test_broken_scores_give_an_id_of_the_vocabulary() -> None:
    logits = logits_of(5)
    logits[0] = torch.nan
    logits[1] = -torch.inf
    logits[2, 77] = torch.inf
    logits[3, 30:] = torch.nan
    allowed = mask([[4], [4], [77, 78], [29, 30], []] * 2, VOCABULARY)
    asked = joined([rows(5, temperature=0), rows(5, top_p=0.9, top_k=8)])
    triton, expected = both(logits.repeat(2, 1), asked, allowed=allowed)
    assert triton == expected == [0, 0, 77, 29, 0] * 2


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_parameters_that_no_request_can_have_give_an_id_of_the_vocabulary() -> None:
    """numpy warns of what the GPU computes in silence."""
    bad = Rows(
        torch.tensor([torch.nan, -1.0, torch.inf, 1e-30]),
        torch.tensor([torch.nan, -1.0, 7.0, torch.inf]),
        torch.tensor([-5, 2**31 - 1, 0, 3], dtype=torch.int32),
        torch.tensor([0.0, torch.nan, -torch.inf, 1.0]),
        torch.tensor([torch.nan, -1.0, 2.0, torch.inf]),
    )
    slots = torch.tensor([0, 1, 0, 1])
    triton, _ = both(logits_of(4), bad, seen_ids([[1, 2], [3]], VOCABULARY), slots)
    assert all(0 <= id < VOCABULARY for id in triton)


def test_a_row_gives_the_same_id_alone_and_among_others() -> None:
    logits = logits_of(ALL_ROWS, seed=5)
    among, _ = both(logits, EVERY_WAY)
    for row in (2, 4):
        one = Rows(*(getattr(EVERY_WAY, name)[row : row + 1] for name in Rows.__slots__))
        assert both(logits[row : row + 1], one)[0] == [among[row]]
