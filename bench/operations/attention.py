"""Attention to pages: of decoded tokens, and of whole prompts beside torch's on contiguous tensors."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from unittest.mock import patch

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from glimpse_worker.device import to_device
from glimpse_worker.engine.paged.kernels import decode_attention as decode_kernels
from glimpse_worker.engine.paged.kernels import prefill_attention as prefill_kernels
from glimpse_worker.engine.paged.kernels.card import Card
from glimpse_worker.engine.paged.ops import Chunk, LayerCache

from ..report import Row
from .bench import Bench, rows_of

PROGRAMS = (1, 2, 4, 8)
"""Per multiprocessor."""
STAGES = (2, 3, 4)
CALLS = 16


@dataclass(frozen=True, slots=True)
class StagedCard(Card):
    """One whose kernels are pipelined otherwise than it asks for."""

    staged: int

    @property
    def stages(self) -> int:
        return self.staged


@dataclass(frozen=True, slots=True)
class Batch:
    """Decoded rows, with the angles of their positions and the slots of their new tokens."""

    cache: LayerCache
    page_table: Tensor
    lengths: Tensor
    slots: Tensor
    cos: Tensor
    sin: Tensor
    heads: int


class Batches:
    """`copies` batches of `rows` rows of `context` tokens each, every one in random pages of its own."""

    def __init__(self, bench: Bench, rows: int, context: int, *, copies: int) -> None:
        sizes = bench.sizes
        self.rows, self.context = rows, context
        self.heads, self.head_dim = sizes.heads, sizes.head_dim
        per_row = -(-context // sizes.page_size)
        states = (copies * rows * per_row, sizes.kv_heads, sizes.page_size, sizes.head_dim)
        self.cache = LayerCache(bench.numbers(*states), bench.numbers(*states))
        pages = torch.randperm(states[0], device=bench.device, dtype=torch.int32)
        self.page_tables = pages.view(copies, rows, per_row).unbind()
        self.lengths = torch.full((rows,), context, dtype=torch.int32, device=bench.device)
        angles = torch.rand(rows, sizes.rotary_dim // 2, device=bench.device)
        self.cos, self.sin = angles.cos(), angles.sin()
        self.q = bench.numbers(rows, sizes.heads, sizes.head_dim)
        self.bytes = 2 * rows * context * sizes.kv_heads * sizes.head_dim * bench.dtype.itemsize
        """Of the keys and values of one batch."""
        self.operations = 4 * rows * context * sizes.heads * sizes.head_dim

    @property
    def all(self) -> list[Batch]:
        last = self.context - 1
        size = self.cache.keys.shape[2]
        return [
            Batch(
                self.cache,
                table,
                self.lengths,
                table[:, last // size] * size + last % size,
                self.cos,
                self.sin,
                self.heads,
            )
            for table in self.page_tables
        ]


def decode(bench: Bench) -> list[Row]:
    rows: list[Row] = []
    for count, context in bench.sizes.decoded:
        per_row = 2 * context * bench.sizes.kv_heads * bench.sizes.head_dim * bench.dtype.itemsize
        batches = Batches(bench, count, context, copies=bench.copies(count * per_row))
        for name, programs, stages in _ways():
            calls = [
                partial(
                    decode_kernels.decode_attention,
                    batches.q,
                    batches.cache,
                    table,
                    batches.lengths,
                    bench.card,
                )
                for table in (batches.page_tables * CALLS)[: max(CALLS, len(batches.page_tables))]
            ]
            with patch.multiple(decode_kernels, PROGRAMS_PER_MULTIPROCESSOR=programs, STAGES=stages):
                title = f"decode attention, {rows_of(count)} of {context}: {name}"
                rows.append(bench.microseconds(title, calls, batches.bytes, batches.operations))
    return rows


def _ways() -> Iterator[tuple[str, int, int]]:
    """Programs and stages; those of the engine first."""
    shipped = (decode_kernels.PROGRAMS_PER_MULTIPROCESSOR, decode_kernels.STAGES)
    others = [(programs, stages) for stages in STAGES for programs in PROGRAMS]
    for programs, stages in [shipped, *(other for other in others if other != shipped)]:
        yield f"{programs} programs, {stages} stages", programs, stages


def prefill(bench: Bench) -> list[Row]:
    """Of one prompt; the other half of the products, which is masked, counts for nobody."""
    sizes = bench.sizes
    rows: list[Row] = []
    for tokens in sizes.prefilled:
        batches = Batches(bench, 1, tokens, copies=2)
        q = bench.numbers(tokens, sizes.heads, sizes.head_dim)
        bytes = batches.bytes + 2 * q.numel() * q.itemsize
        operations = 4 * tokens * (tokens + 1) / 2 * sizes.heads * sizes.head_dim
        whole = prefill_kernels.query_blocks([Chunk(first=0, count=tokens, start=0)])
        blocks = to_device(whole, bench.device)
        for stages in (bench.card.stages, *(other for other in STAGES if other != bench.card.stages)):
            card = _staged(bench.card, stages)
            calls = [
                partial(prefill_kernels.prefill_attention, q, batches.cache, table, blocks, card)
                for table in batches.page_tables
            ]
            title = f"prefill attention, {tokens} tokens: {stages} stages"
            rows.append(bench.microseconds(title, calls, bytes, operations))
        key, value = bench.numbers(2, 1, sizes.kv_heads, tokens, sizes.head_dim)
        call = partial(
            scaled_dot_product_attention,
            q.transpose(0, 1)[None],
            key,
            value,
            is_causal=True,
            enable_gqa=True,
        )
        rows.append(
            bench.microseconds(f"prefill attention, {tokens} tokens: torch", [call], bytes, operations)
        )
    return rows


def _staged(card: Card, stages: int) -> Card:
    return StagedCard(card.multiprocessors, card.shared_memory, stages)
