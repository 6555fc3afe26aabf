"""Tokens are chosen as transformers would choose them, with random numbers that belong to the request."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sampler_batch import joined, mask, rows, seen_ids
from torch import Tensor
from transformers import (
    LogitsProcessorList,
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from glimpse_worker.engine.paged.sampler import Rows, TorchSampler, uniforms

VOCABULARY = 50
DRAWS = 20_000
SAMPLER = TorchSampler()
NO_SLOTS = torch.zeros(1, dtype=torch.int64)


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    """The tensors are small: more threads only wait for each other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def logits_of(count: int = 1, *, seed: int = 0, spread: float = 3.0) -> Tensor:
    """Scores of which no two in a row are equal."""
    return torch.randn(count, VOCABULARY, generator=torch.Generator().manual_seed(seed)) * spread


def choose(logits: Tensor, wanted: Rows, **tensors: Any) -> list[int]:
    fields = {"seen": None, "slots": NO_SLOTS.expand(len(logits)), "allowed": None} | tensors
    chosen: list[int] = SAMPLER.choose(logits.clone(), wanted, **fields).tolist()
    return chosen


def drawn(
    logits: Tensor, draws: int = DRAWS, *, seed: int = 1, allowed: Tensor | None = None, **ask: Any
) -> Tensor:
    """How often each id is drawn of one row of scores, with random numbers of one seed."""
    seen = ask.pop("seen", None)
    uniform = torch.from_numpy(uniforms(np.full(draws, seed), np.arange(draws)))
    chosen = SAMPLER.choose(
        logits.expand(draws, -1).clone(),
        rows(draws, **ask, uniform=uniform),
        seen,
        NO_SLOTS.expand(draws),
        None if allowed is None else allowed.expand(draws, -1),
    )
    return chosen.bincount(minlength=logits.shape[-1])


def probabilities(
    logits: Tensor,
    ids: list[int],
    *,
    temperature: float = 1.0,
    top_p: float = 1.0,
    top_k: int = 0,
    penalty: float = 1.0,
) -> Tensor:
    """What transformers draws one row of scores from, after the tokens `ids`."""
    processors: Any = LogitsProcessorList([RepetitionPenaltyLogitsProcessor(penalty)] if penalty != 1 else [])
    processors.append(TemperatureLogitsWarper(temperature))
    if top_k:
        processors.append(TopKLogitsWarper(top_k))
    if top_p < 1:
        processors.append(TopPLogitsWarper(top_p))
    scores: Tensor = processors(torch.tensor([ids], dtype=torch.int64), logits.clone())
    return scores.softmax(dim=-1).squeeze(0)


def intervals(logits: Tensor, **ask: Any) -> Tensor:
    """How long the interval of random numbers is that gives each id, to within 1e-4."""
    grid = (torch.arange(10_000) + 0.5) / 10_000
    seen = ask.pop("seen", None)
    chosen = SAMPLER.choose(
        logits.expand(len(grid), -1).clone(),
        rows(len(grid), **ask, uniform=grid),
        seen,
        NO_SLOTS.expand(10_000),
        None,
    )
    assert (chosen.diff() >= 0).all()
    return chosen.bincount(minlength=logits.shape[-1]) / len(grid)


ASKED: dict[str, dict[str, Any]] = {
    "all": {},
    "temperature": {"temperature": 0.7},
    "top-k": {"top_k": 5},
    "top-k beyond the vocabulary": {"top_k": 1000},
    "top-p": {"top_p": 0.6},
    "top-p of nothing": {"top_p": 0.0},
    "top-p of what top-k left": {"top_p": 0.8, "top_k": 4, "temperature": 1.5},
    "temperature and top-p": {"temperature": 0.7, "top_p": 0.9},
    "penalty": {"penalty": 1.3, "top_p": 0.95},
    "reward": {"penalty": 0.8, "top_k": 7},
}


@pytest.mark.parametrize("ask", ASKED.values(), ids=ASKED)
@pytest.mark.parametrize("seed", range(3))
def test_ids_are_drawn_with_the_probabilities_of_generate(ask: dict[str, Any], seed: int) -> None:
    logits = logits_of(seed=seed)
    ids = [3, 9, 9, 17, 30]
    seen = seen_ids([ids], VOCABULARY)
    expected = probabilities(logits, ids, **ask)
    found = intervals(logits, **ask, seen=seen)
    torch.testing.assert_close(found, expected, rtol=0, atol=2e-4)
    assert not (found[expected == 0]).any()


@pytest.mark.parametrize("ask", ASKED.values(), ids=ASKED)
def test_drawn_frequencies_match_the_softmax_they_come_from(ask: dict[str, Any]) -> None:
    logits = logits_of(seed=7)
    ids = [0, 1, 2, 3]
    expected = probabilities(logits, ids, **ask) * DRAWS
    counts = drawn(logits, **ask, seen=seen_ids([ids], VOCABULARY))
    assert counts.sum() == DRAWS
    assert not counts[expected == 0].any()
    # Ids that are expected fewer than 5 times are counted as one, as the chi-square test asks.
    rare = expected < 5
    expected = torch.cat([expected[~rare], expected[rare].sum()[None]])
    observed = torch.cat([counts[~rare], counts[rare].sum()[None]])
    present = expected > 1e-3
    square = ((observed - expected)[present] ** 2 / expected[present]).sum()
    freedom = int(present.sum()) - 1
    # Wilson and Hilferty's approximation of the 99.9 % quantile.
    limit = freedom * (1 - 2 / (9 * max(freedom, 1)) + 3.09 * (2 / (9 * max(freedom, 1))) ** 0.5) ** 3
    assert square <= max(limit, 1e-6)


def test_a_greedy_row_takes_the_best_id_and_of_equal_ones_the_first() -> None:
    logits = logits_of(6)
    assert choose(logits, rows(6, temperature=0)) == logits.argmax(-1).tolist()
    logits[:, [11, 40]] = 50.0
    assert choose(logits, rows(6, temperature=0, top_k=1, top_p=0.1)) == [11] * 6


def test_greedy_and_drawn_rows_may_be_in_one_batch() -> None:
    logits = logits_of(3)
    mixed = joined([rows(1, temperature=0), rows(1, uniform=0.9), rows(1, temperature=0)])
    greedy = logits.argmax(-1).tolist()
    ids = choose(logits, mixed)
    assert [ids[0], ids[2]] == [greedy[0], greedy[2]]
    assert ids[1] == choose(logits[1:2], rows(1, uniform=0.9))[0] != greedy[1]


def test_the_penalty_counts_what_the_slot_of_the_row_has_had() -> None:
    logits = torch.full((3, VOCABULARY), -4.0)
    logits[:, 5] = 2.0
    logits[:, 6] = 1.5
    seen = seen_ids([[6], [5, 7], []], VOCABULARY)
    penalized = rows(3, temperature=0, penalty=1.5)
    assert choose(logits, penalized, seen=seen, slots=torch.tensor([1, 0, 2])) == [6, 5, 5]
    # A negative score is multiplied: 8 is the best of what has not been seen.
    logits = torch.full((1, VOCABULARY), -4.0)
    logits[:, 8] = -4.5
    all_but_8 = seen_ids([[id for id in range(VOCABULARY) if id != 8]], VOCABULARY)
    assert choose(logits, rows(1, temperature=0, penalty=1.5), seen=all_but_8) == [8]


def test_a_row_without_penalty_ignores_what_its_slot_has_had() -> None:
    logits = logits_of(2)
    both = joined([rows(1, temperature=0, penalty=100.0), rows(1, temperature=0)])
    seen = torch.ones(1, VOCABULARY, dtype=torch.uint8)
    seen[0, 33] = 0
    logits[:, 33] = -1e-3
    assert choose(logits, both, seen=seen)[1] == int(logits[1].argmax())


@pytest.mark.parametrize("temperature", [0.0, 1.0])
@pytest.mark.parametrize("ids", [[0], [31], [32, 49], [5, 6, 7]])
def test_only_allowed_ids_are_chosen(ids: list[int], temperature: float) -> None:
    logits = logits_of()
    allowed = mask([ids], VOCABULARY)
    counts = drawn(logits, 2000, temperature=temperature, allowed=allowed)
    assert set(counts.nonzero().flatten().tolist()) <= set(ids)
    everything = mask([list(range(VOCABULARY))], VOCABULARY)
    assert choose(logits, rows(1, temperature=temperature), allowed=everything) == choose(
        logits, rows(1, temperature=temperature)
    )


def test_ids_that_are_not_allowed_take_no_part_in_top_k_and_top_p() -> None:
    logits = torch.arange(VOCABULARY, 0, -1).float()[None]
    allowed = mask([[10, 11, 12]], VOCABULARY)
    assert drawn(logits, 2000, top_k=2, allowed=allowed).nonzero().flatten().tolist() == [10, 11]
    assert drawn(logits, 2000, top_p=0.5, allowed=allowed).nonzero().flatten().tolist() == [10]


def test_what_ties_with_the_last_id_kept_is_kept() -> None:
    logits = torch.zeros(1, VOCABULARY)
    logits[:, 20] = 1.0
    assert (drawn(logits, top_k=2) > 0).all()
    assert (drawn(logits, top_p=0.5) > 0).all()
    assert drawn(logits, top_k=1).nonzero().flatten().tolist() == [20]


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_broken_scores_still_give_an_id_of_the_vocabulary(temperature: float) -> None:
    logits = logits_of(5)
    logits[0] = torch.nan
    logits[1, :] = -torch.inf
    logits[2, 7] = torch.inf
    logits[3, 30:] = torch.nan
    logits[4, :40] = torch.nan
    allowed = mask([[4], [4], [7, 8], [29, 30], []], VOCABULARY)
    asked = rows(5, temperature=temperature, top_p=0.9, top_k=8)
    assert choose(logits, asked, allowed=allowed) == [0, 0, 7, 29, 0]
    assert choose(logits, asked)[:3] == [0, 0, 7]
    assert choose(logits, asked)[3] < 30
    assert choose(logits, asked)[4] >= 40


def test_parameters_that_no_request_can_have_do_no_harm() -> None:
    logits = logits_of(8)
    good = rows(4, uniform=0.3, top_p=0.8, penalty=1.2)
    bad = Rows(
        torch.tensor([torch.nan, -1.0, torch.inf, 1e-30]),
        torch.tensor([torch.nan, -1.0, 7.0, torch.inf]),
        torch.tensor([-5, 2**31 - 1, 0, 3], dtype=torch.int32),
        torch.tensor([0.0, torch.nan, -torch.inf, 1.0]),
        torch.tensor([torch.nan, -1.0, 2.0, torch.inf]),
    )
    seen = seen_ids([[1, 2], [3]], VOCABULARY)
    ids = choose(logits, joined([good, bad]), seen=seen, slots=torch.tensor([0, 1, 0, 1, 0, 1, 0, 1]))
    assert ids[:4] == choose(logits[:4], good, seen=seen, slots=torch.tensor([0, 1, 0, 1]))
    assert all(0 <= id < VOCABULARY for id in ids)


@settings(max_examples=60)
@given(
    seed=st.integers(0, 2**16),
    temperature=st.sampled_from([0.0, 0.3, 1.0, 1.7]),
    top_p=st.sampled_from([0.05, 0.6, 0.99, 1.0]),
    top_k=st.sampled_from([0, 1, 3, 49]),
    penalty=st.sampled_from([1.0, 1.3]),
    others=st.integers(1, 9),
    place=st.integers(0, 9),
)
def test_a_row_gives_the_same_id_alone_and_among_others(
    seed: int, temperature: float, top_p: float, top_k: int, penalty: float, others: int, place: int
) -> None:
    place = min(place, others)
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(others + 1, VOCABULARY, generator=generator) * 4
    seen = (torch.rand(others + 1, VOCABULARY, generator=generator) < 0.2).to(torch.uint8)
    random = torch.rand(others + 1, generator=generator)
    ask = {"temperature": temperature, "top_p": top_p, "top_k": top_k, "penalty": penalty}
    one = rows(1, **ask, uniform=random[place : place + 1])  # type: ignore[arg-type]
    before = rows(place, temperature=0.9, top_k=7, uniform=random[:place])
    after = rows(others - place, top_p=0.5, uniform=random[place + 1 :])
    alone = choose(logits[place : place + 1], one, seen=seen[place : place + 1])
    among = choose(logits, joined([before, one, after]), seen=seen, slots=torch.arange(others + 1))
    assert among[place] == alone[0]


def test_a_large_vocabulary_loses_no_rare_id() -> None:
    """One half is so probable that a running sum in float32 would pass over most ids of the other."""
    logits = torch.zeros(1, 2**18)
    logits[:, 2**17 :] = -7.0
    last = 1 - (torch.arange(16).flip(0) + 1) * 2**-24
    chosen = SAMPLER.choose(
        logits.expand(16, -1).clone(), rows(16, uniform=last), None, NO_SLOTS.expand(16), None
    )
    steps = chosen.diff()
    assert chosen[0] > 2**17
    # Each random number is as much more than the one before as 8.6 of the rare ids have.
    assert steps.min() >= 8
    assert steps.max() <= 9


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_scores_may_be_of_the_models_dtype(dtype: torch.dtype) -> None:
    logits = logits_of(4).to(dtype)
    asked = rows(4, temperature=0.8, top_p=0.9, uniform=torch.tensor([0.1, 0.4, 0.6, 0.9]))
    assert choose(logits, asked) == choose(logits.float(), asked)
    greedy = dataclasses.replace(asked, temperature=torch.zeros(4))
    assert choose(logits, greedy) == logits.float().argmax(-1).tolist()


def test_random_numbers_are_the_same_on_every_machine() -> None:
    """These were printed by a program around Vigna's splitmix64.c."""
    printed = {
        (0, 0): 10946269,
        (0, 1): 11764387,
        (1, 0): 6177195,
        (1, 8191): 7469380,
        (2**32 - 1, 0): 15276844,
        (2**32 - 1, 131071): 4701550,
    }
    seeds, positions = np.array(list(printed), dtype=np.uint64).T
    assert (uniforms(seeds, positions) * 2**24).tolist() == list(printed.values())


def test_random_numbers_fill_the_unit_interval_evenly() -> None:
    count, bins = 200_000, 100
    for numbers in (
        uniforms(np.full(count, 5), np.arange(count)),
        uniforms(np.arange(count), np.zeros(count, dtype=np.int64)),
        uniforms(np.arange(count) // 450, np.arange(count) % 450),
    ):
        assert numbers.dtype == np.float32
        assert numbers.min() >= 0
        assert numbers.max() < 1
        counts = np.histogram(numbers, bins, (0, 1))[0]
        # The 99.99 % quantile of chi-square with 99 degrees of freedom.
        assert ((counts - count / bins) ** 2 / (count / bins)).sum() < 161.3
        # And so do pairs of neighbours.
        pairs = np.histogram2d(numbers[:-1], numbers[1:], 10, [(0, 1), (0, 1)])[0]
        assert ((pairs - count / 100) ** 2 / (count / 100)).sum() < 161.3


def test_neighbouring_seeds_and_positions_have_nothing_in_common() -> None:
    seeds, positions = np.meshgrid(np.arange(64), np.arange(512), indexing="ij")
    numbers = uniforms(seeds.ravel(), positions.ravel()).reshape(64, 512)
    streams = numbers - numbers.mean(axis=1, keepdims=True)
    streams /= np.linalg.norm(streams, axis=1, keepdims=True)
    for shift in range(4):
        related = streams[:, : 512 - shift] @ streams[:, shift:].T
        if shift == 0:
            np.fill_diagonal(related, 0)
        # Correlations of 512 random numbers have a standard deviation of 0.044.
        assert np.abs(related).max() < 0.25
