"""Ragged batches whose keys and values lie in pages of random order, and the same without pages."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from glimpse_worker.engine.paged.ops import Chunk, LayerCache


@dataclass(frozen=True)
class Shape:
    heads: int
    kv_heads: int
    head_dim: int
    page_size: int


EMBEDDED = Shape(heads=8, kv_heads=2, head_dim=32, page_size=16)
BIG = Shape(heads=32, kv_heads=2, head_dim=128, page_size=64)
"""The text model of GLM-4.1V-9B."""


@dataclass(frozen=True)
class PagedBatch:
    """`keys` and `values` of each row are (kv_heads, tokens, head_dim)."""

    cache: LayerCache
    page_table: Tensor
    lengths: Tensor
    keys: list[Tensor]
    values: list[Tensor]


def paged_batch(shape: Shape, lengths: Sequence[int], dtype: torch.dtype = torch.float32) -> PagedBatch:
    """What no row owns is NaN: whatever reads it shows. The page table is wider than the longest row."""
    size = shape.page_size
    counts = [-(-length // size) for length in lengths]
    pages = list(range(sum(counts) + 2))
    random.Random(len(pages)).shuffle(pages)
    states = (len(pages), shape.kv_heads, size, shape.head_dim)
    cache = LayerCache(torch.full(states, torch.nan, dtype=dtype), torch.full(states, torch.nan, dtype=dtype))
    page_table = torch.full((len(lengths), max(counts) + 3), pages.pop(), dtype=torch.int32)
    batch = PagedBatch(cache, page_table, torch.tensor(lengths, dtype=torch.int32), [], [])
    for row, (length, count) in enumerate(zip(lengths, counts, strict=True)):
        own = [pages.pop() for _ in range(count)]
        page_table[row, :count] = torch.tensor(own, dtype=torch.int32)
        for paged, plain in ((cache.keys, batch.keys), (cache.values, batch.values)):
            plain.append(torch.randn(shape.kv_heads, length, shape.head_dim, dtype=dtype))
            for index, page in enumerate(own):
                part = plain[-1][:, index * size : (index + 1) * size]
                paged[page, :, : part.shape[1]] = part
    return batch


def pack(spans: Sequence[tuple[int, int]]) -> list[Chunk]:
    """Chunks of (start, count), one after another."""
    firsts = [sum(count for _, count in spans[:row]) for row in range(len(spans))]
    return [Chunk(first, count, start) for first, (start, count) in zip(firsts, spans, strict=True)]
