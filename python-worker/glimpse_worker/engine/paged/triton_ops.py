"""The operations of the text layers in Triton: what CUDA and ROCm devices run."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from ...device import to_device
from .batch import Integers
from .kernels import decode_attention, linear, norm, prefill_attention, rotary, silu
from .kernels.card import Card
from .ops import Chunk, LayerCache


class TritonOps:
    """
    Ops for the current CUDA or ROCm device. page_size and head_dim must be powers of 2 from 16. Meant for
    float16 and bfloat16: the tiles of float32 fit in shared memory for a small head_dim only, not for 128.

    All but prefill_attention can be captured in a CUDA graph. The first call with a new dtype or row width
    compiles, of a linear also the first with one row and the first with a few, of decode attention the first
    with each power of 2 of splits; otherwise the number of rows or of pages does not matter.
    """

    def __init__(self, device: torch.device, card: Card | None = None) -> None:
        """`card` is what the kernels are launched for, by default what `device` is."""
        self._card = Card.of(device) if card is None else card
        self._chunks: tuple[Chunk, ...] = ()
        self._blocks = torch.empty(0)

    def rms_norm(self, x: Tensor, weight: Tensor, eps: float) -> Tensor:
        return norm.rms_norm(x, weight, eps)

    def add_rms_norm(
        self, residual: Tensor, x: Tensor, post_weight: Tensor, next_weight: Tensor, eps: float
    ) -> Tensor:
        return norm.add_rms_norm(residual, x, post_weight, next_weight, eps)

    def rotate_and_store(
        self, qkv: Tensor, cos: Tensor, sin: Tensor, cache: LayerCache, slots: Tensor, heads: int
    ) -> Tensor:
        return rotary.rotate_and_store(qkv, cos, sin, cache, slots, heads)

    def linear(self, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        tiling = linear.tiling_of(len(weight), len(x), x.dtype, self._card)
        if tiling is None:
            return functional.linear(x, weight, bias)
        return linear.linear(x, weight, bias, tiling)

    def gated(self, x: Tensor, gate_up: Tensor) -> Tensor:
        tiling = linear.tiling_of(len(gate_up) // 2, len(x), x.dtype, self._card, gated=True)
        if tiling is None:
            return self.silu_mul(functional.linear(x, gate_up))
        return linear.gated(x, gate_up, tiling)

    def silu_mul(self, gate_up: Tensor) -> Tensor:
        return silu.silu_mul(gate_up)

    def decode_attention(self, q: Tensor, cache: LayerCache, page_table: Tensor, lengths: Tensor) -> Tensor:
        return decode_attention.decode_attention(q, cache, page_table, lengths, self._card)

    def prefill_attention(
        self, q: Tensor, cache: LayerCache, page_table: Tensor, chunks: Sequence[Chunk]
    ) -> Tensor:
        # All layers of a step have the same chunks: one copy to the device per step, not per layer.
        if self._chunks != tuple(chunks):
            self._blocks = to_device(self.query_blocks(chunks), q.device)
            self._chunks = tuple(chunks)
        return self.attend_blocks(q, cache, page_table, self._blocks)

    def query_blocks(self, chunks: Sequence[Chunk]) -> Integers:
        """What the programs of one head take of `chunks`, for attend_blocks."""
        return prefill_attention.query_blocks(chunks)

    def attend_blocks(self, q: Tensor, cache: LayerCache, page_table: Tensor, blocks: Tensor) -> Tensor:
        """
        prefill_attention of the chunks that `blocks` were made of, which this does not look into: a CUDA
        graph can be captured of it. Blocks of zeros are no query's, and rows that are in no block are
        undefined.
        """
        return prefill_attention.prefill_attention(q, cache, page_table, blocks, self._card)
