"""Rows and logits for the samplers."""

from __future__ import annotations

import torch
from torch import Tensor

from glimpse_worker.engine.paged.sampler import Rows


def rows(
    count: int,
    *,
    temperature: float = 1.0,
    top_p: float = 1.0,
    top_k: int = 0,
    penalty: float = 1.0,
    uniform: float | Tensor = 0.5,
) -> Rows:
    """`count` rows that ask for the same."""
    return Rows(
        torch.full((count,), temperature),
        torch.full((count,), top_p),
        torch.full((count,), top_k, dtype=torch.int32),
        torch.full((count,), penalty),
        torch.ones(count) * uniform,
    )


def joined(parts: list[Rows]) -> Rows:
    return Rows(
        torch.cat([part.temperature for part in parts]),
        torch.cat([part.top_p for part in parts]),
        torch.cat([part.top_k for part in parts]),
        torch.cat([part.penalty for part in parts]),
        torch.cat([part.uniform for part in parts]),
    )


def mask(allowed: list[list[int]], vocabulary: int) -> Tensor:
    """The bit mask of the ids that each row may choose."""
    bits = torch.zeros(len(allowed), -(-vocabulary // 32) * 32, dtype=torch.int64)
    for row, ids in zip(bits, allowed, strict=True):
        row[ids] = 1
    words = (bits.view(len(allowed), -1, 32) << torch.arange(32)).sum(-1)
    return torch.where(words >= 2**31, words - 2**32, words).to(torch.int32)


def seen_ids(seen: list[list[int]], vocabulary: int) -> Tensor:
    """One slot for each list of ids."""
    marked = torch.zeros(len(seen), vocabulary, dtype=torch.uint8)
    for row, ids in zip(marked, seen, strict=True):
        row[ids] = 1
    return marked
