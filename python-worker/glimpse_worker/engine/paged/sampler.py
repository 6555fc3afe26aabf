"""The next token of every row of a batch, from the model's logits: the rules, and how torch follows them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

Integers = npt.NDArray[np.integer]
Words = npt.NDArray[np.uint64]

_GAMMA = np.uint64(0x9E3779B97F4A7C15)


@dataclass(frozen=True, slots=True)
class Rows:
    """What each row asks for. Tensors (n,) on the device of the logits."""

    temperature: Tensor
    """float32; 0 is greedy."""
    top_p: Tensor
    """float32; 1 is off."""
    top_k: Tensor
    """int32; 0 is off."""
    penalty: Tensor
    """float32: the repetition penalty; 1 is off."""
    uniform: Tensor
    """float32 in [0, 1): the random number that a sampled row is drawn with."""


class Sampler(Protocol):
    def choose(
        self, logits: Tensor, rows: Rows, seen: Tensor | None, slots: Tensor, allowed: Tensor | None
    ) -> Tensor:
        """
        The id chosen in each row, int64 (n,). A row's id depends on nothing outside its row.

        logits (n, V), contiguous, in any float dtype; they may be overwritten. seen uint8 (slots, V): not 0
        for the ids that the request in that slot has had, prompt and output; None when no row has a penalty.
        slots int64 (n,): the row of `seen` for each row. allowed int32 (n, ceil(V / 32)): bit v % 32 of word
        v // 32 says that id v may be chosen; None when every id may be.

        In the order of transformers: penalty, `allowed`, temperature, top-k, top-p over what top-k left.
        Top-k keeps the k highest scores, top-p the fewest of the most probable ids whose probabilities reach
        top_p; both also keep what ties with the last one kept. The id is the first in the vocabulary's order
        at which the sum of the kept probabilities exceeds `uniform`. A greedy row takes its highest score,
        and of equal ones the lowest id.

        NaN is a score that is never chosen; +inf counts as float32's largest number. A row of which no id
        can be chosen gives 0. Whatever a row's parameters are, it gives an id of the vocabulary.
        """


class TorchSampler:
    """
    Sampler in torch, for any device. Sorts the rows that are drawn, and waits for the device to know which:
    it cannot be captured in a CUDA graph.
    """

    def choose(
        self, logits: Tensor, rows: Rows, seen: Tensor | None, slots: Tensor, allowed: Tensor | None
    ) -> Tensor:
        scores = logits.float()
        if seen is not None:
            seen_ids = seen[slots] != 0
            penalty = rows.penalty[:, None]
            scores = torch.where(
                seen_ids, torch.where(scores < 0, scores * penalty, scores / penalty), scores
            )
        if allowed is not None:
            scores.masked_fill_(~_unpacked(allowed, scores.shape[-1]), -torch.inf)
        scores.nan_to_num_(nan=-torch.inf, neginf=-torch.inf)
        chosen = scores.argmax(dim=-1)
        drawn = (rows.temperature > 0) & (scores.amax(dim=-1) > -torch.inf)
        if drawn.any():
            chosen[drawn] = _draw(
                scores[drawn],
                rows.temperature[drawn],
                rows.top_p[drawn],
                rows.top_k[drawn].long(),
                rows.uniform[drawn],
            )
        return chosen


def _unpacked(allowed: Tensor, vocabulary: int) -> Tensor:
    """A bit mask of Sampler.choose as bool (n, vocabulary)."""
    bits = allowed[:, :, None] >> torch.arange(32, dtype=torch.int32, device=allowed.device) & 1
    return bits.flatten(1)[:, :vocabulary].bool()


def _draw(scores: Tensor, temperature: Tensor, top_p: Tensor, top_k: Tensor, uniform: Tensor) -> Tensor:
    """One id of each row; parameters (n,) as in Rows."""
    kept = scores >= _threshold(scores, temperature, top_p, top_k)[:, None]
    # A running sum in float32 would lose the ids of small probability in a large vocabulary.
    mass = (_weights(scores, temperature) * kept).cumsum(dim=-1, dtype=torch.float64)
    drawn = torch.searchsorted(mass, uniform[:, None] * mass[:, -1:], right=True)
    return drawn.squeeze(-1).clamp(max=scores.shape[-1] - 1)


def _threshold(scores: Tensor, temperature: Tensor, top_p: Tensor, top_k: Tensor) -> Tensor:
    """The lowest score of each row (n,) that top-k and top-p keep."""
    vocabulary = scores.shape[-1]
    ordered = scores.sort(dim=-1, descending=True).values
    kth = torch.where(top_k > 0, top_k, vocabulary).clamp(max=vocabulary) - 1
    lowest = ordered.gather(-1, kth[:, None])
    mass = (_weights(ordered, temperature) * (ordered >= lowest)).cumsum(dim=-1, dtype=torch.float64)
    short = (mass < top_p[:, None] * mass[:, -1:]).sum(dim=-1, keepdim=True).clamp(max=vocabulary - 1)
    return ordered.gather(-1, short).squeeze(-1)


def _weights(scores: Tensor, temperature: Tensor) -> Tensor:
    """The probabilities of softmax(scores / temperature), each over that of the row's highest score."""
    return ((scores - scores.amax(dim=-1, keepdim=True)) / temperature[:, None]).exp()


def uniforms(seeds: Integers, positions: Integers) -> npt.NDArray[np.float32]:
    """
    Random numbers in [0, 1), multiples of 2**-24, one for each pair of a seed and a position, both (n,).

    Each is the output number `position` of SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom
    number generators", 2014, with the constants of Vigna's splitmix64.c), which starts at the seed after one
    round of its mixing function, so that neighbouring seeds have streams far apart. A pure function of
    integers: the same on every machine.
    """
    start = _mix(seeds.astype(np.uint64) + _GAMMA)
    bits = _mix(start + (positions.astype(np.uint64) + np.uint64(1)) * _GAMMA)
    return (bits >> np.uint64(40)).astype(np.float32) * np.float32(2**-24)


def _mix(bits: Words) -> Words:
    bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return bits ^ (bits >> np.uint64(31))
