"""The small operations of the text layers, which exist twice: in torch for every device, and in Triton."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor


@dataclass(frozen=True, slots=True)
class LayerCache:
    """
    Keys and values of one layer, each (pages, kv_heads, page_size, head_dim), contiguous.

    Slot s of the cache is token s % page_size of page s // page_size.
    """

    keys: Tensor
    values: Tensor


@dataclass(frozen=True, slots=True)
class Chunk:
    """One row of a prefill batch."""

    first: int
    """Index of its first token in the packed batch."""
    count: int
    """How many tokens it has in the packed batch, at least 1."""
    start: int
    """Position of its first token in the sequence: how many tokens are in the cache before it."""


class Ops(Protocol):
    """
    Packed tokens: n rows, one per token, no padding. All tensors are contiguous and on one device; results
    have the dtype of the input, and sums are float32.

    A page table is int32 (rows, max_pages) and names the pages of each row in order. What it holds beyond a
    row's last page must be the number of some page, and is not used.
    """

    def rms_norm(self, x: Tensor, weight: Tensor, eps: float) -> Tensor:
        """Glm4vRMSNorm of x (n, hidden): computed in float32, rounded to x's dtype, then times `weight`."""

    def add_rms_norm(
        self, residual: Tensor, x: Tensor, post_weight: Tensor, next_weight: Tensor, eps: float
    ) -> Tensor:
        """
        Adds rms_norm(x, post_weight) to `residual` in place, and gives rms_norm(residual, next_weight).

        All (n, hidden). GLM-4 normalises what attention and the MLP give before it is added.
        """

    def rotate_and_store(
        self, qkv: Tensor, cos: Tensor, sin: Tensor, cache: LayerCache, slots: Tensor, heads: int
    ) -> Tensor:
        """
        The rotated queries (n, heads, head_dim); rotated keys, and values, go to `slots` of the cache.

        qkv (n, (heads + 2 * kv_heads) * head_dim): queries, keys, values. cos, sin float32
        (n, rotary_dim / 2): of the angle of each pair (0, 1), (2, 3), ... of a head's first rotary_dim
        numbers, as apply_rotary_pos_emb of transformers' Glm4v text model turns them. slots int32 (n,), all
        different; a row with a negative slot is not stored.
        """

    def linear(self, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        """x (n, in_features) times the transpose of weight (out_features, in_features), plus `bias`."""

    def gated(self, x: Tensor, gate_up: Tensor) -> Tensor:
        """silu_mul of linear(x, gate_up): (n, in_features) → (n, out_features / 2)."""

    def silu_mul(self, gate_up: Tensor) -> Tensor:
        """silu(first half of each row) * second half: (n, 2 * m) → (n, m)."""

    def decode_attention(self, q: Tensor, cache: LayerCache, page_table: Tensor, lengths: Tensor) -> Tensor:
        """
        Attention of one token per row to all tokens of its row, its own included: (rows, heads * head_dim).

        q (rows, heads, head_dim), scaled by head_dim ** -0.5; query head h attends to KV head
        h // (heads / kv_heads). lengths int32 (rows,): tokens of the row in the cache; 0 gives zeros.
        """

    def prefill_attention(
        self, q: Tensor, cache: LayerCache, page_table: Tensor, chunks: Sequence[Chunk]
    ) -> Tensor:
        """
        Causal attention of the packed tokens of `chunks`: (n, heads * head_dim).

        q (n, heads, head_dim), scaled and grouped as for decode_attention. Row i of the page table belongs to
        chunks[i]; the chunks cover q's rows exactly, in order. Keys and values of the chunks' own tokens are
        in the cache already; the token at position p attends to 0..p.
        """
