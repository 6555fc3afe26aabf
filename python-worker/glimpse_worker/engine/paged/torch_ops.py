"""The operations of the text layers in torch: any device, any dtype; what a CPU runs."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import linear, scaled_dot_product_attention, silu

from .ops import Chunk, LayerCache


class TorchOps:
    """Ops for any device. On a GPU, attention waits for the device: no CUDA graph can be captured of it."""

    def rms_norm(self, x: Tensor, weight: Tensor, eps: float) -> Tensor:
        wide = x.float()
        variance = wide.square().mean(-1, keepdim=True)
        return weight * (wide * torch.rsqrt(variance + eps)).to(x.dtype)

    def add_rms_norm(
        self, residual: Tensor, x: Tensor, post_weight: Tensor, next_weight: Tensor, eps: float
    ) -> Tensor:
        residual += self.rms_norm(x, post_weight, eps)
        return self.rms_norm(residual, next_weight, eps)

    def rotate_and_store(
        self, qkv: Tensor, cos: Tensor, sin: Tensor, cache: LayerCache, slots: Tensor, heads: int
    ) -> Tensor:
        _, kv_heads, page_size, head_dim = cache.keys.shape
        states = qkv.view(len(qkv), heads + 2 * kv_heads, head_dim)
        rotated = _rotate(states[:, : heads + kv_heads], cos[:, None], sin[:, None])
        keys, values = rotated[:, heads:], states[:, heads + kv_heads :]
        stored = slots >= 0
        if not stored.all():
            keys, values, slots = keys[stored], values[stored], slots[stored]
        pages, offsets = slots.long() // page_size, slots.long() % page_size
        # Two index tensors with a slice between them: the result has the tokens first.
        cache.keys[pages, :, offsets] = keys
        cache.values[pages, :, offsets] = values
        return rotated[:, :heads].contiguous()

    def linear(self, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        return linear(x, weight, bias)

    def gated(self, x: Tensor, gate_up: Tensor) -> Tensor:
        return self.silu_mul(linear(x, gate_up))

    def silu_mul(self, gate_up: Tensor) -> Tensor:
        gate, up = gate_up.chunk(2, dim=-1)
        return silu(gate) * up

    def decode_attention(self, q: Tensor, cache: LayerCache, page_table: Tensor, lengths: Tensor) -> Tensor:
        rows, heads, head_dim = q.shape
        _, kv_heads, page_size, _ = cache.keys.shape
        pages = -(-int(lengths.max()) // page_size)
        if pages == 0:
            return q.new_zeros(rows, heads * head_dim)
        keys, values = _gather(cache, page_table[:, :pages])
        beyond = torch.arange(pages * page_size, device=q.device) >= lengths[:, None]
        queries = q.view(rows, kv_heads, heads // kv_heads, head_dim)
        scores = (queries @ keys.transpose(2, 3)).float().mul_(head_dim**-0.5)
        # The least number and not -inf, which would make a row of length 0 NaN. Values are masked as well,
        # because a page may still hold another sequence's NaN, and NaN * 0 is NaN.
        weights = scores.masked_fill_(beyond[:, None, None], torch.finfo(torch.float32).min).softmax(-1)
        return (weights.to(q.dtype) @ values.masked_fill_(beyond[:, None, :, None], 0)).view(rows, -1)

    def prefill_attention(
        self, q: Tensor, cache: LayerCache, page_table: Tensor, chunks: Sequence[Chunk]
    ) -> Tensor:
        attended = torch.empty_like(q)
        page_size = cache.keys.shape[2]
        for row, chunk in enumerate(chunks):
            total = chunk.start + chunk.count
            pages = -(-total // page_size)
            keys, values = _gather(cache, page_table[row : row + 1, :pages])
            own = slice(chunk.first, chunk.first + chunk.count)
            attended[own] = _causal(q[own], keys[:, :, :total], values[:, :, :total])
        return attended.view(len(q), -1)


def _rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """x (n, heads, head_dim) with its first pairs of numbers turned by angles (n, 1, rotary_dim / 2)."""
    rotary_dim = 2 * cos.shape[-1]
    even, odd = x[..., 0:rotary_dim:2].float(), x[..., 1:rotary_dim:2].float()
    turned = torch.stack((even * cos - odd * sin, odd * cos + even * sin), dim=-1).flatten(-2)
    return torch.cat((turned.to(x.dtype), x[..., rotary_dim:]), dim=-1)


def _gather(cache: LayerCache, page_table: Tensor) -> tuple[Tensor, Tensor]:
    """Copies of the keys and values of whole pages, in their order: (rows, kv_heads, tokens, head_dim)."""
    pages, kv_heads, page_size, head_dim = cache.keys.shape
    rows = len(page_table)
    # One index per page and head puts the tokens of a head side by side with a single copy.
    heads = torch.arange(kv_heads, device=page_table.device, dtype=torch.int32)[:, None]
    index = (page_table[:, None] * kv_heads + heads).flatten()

    def pick(states: Tensor) -> Tensor:
        flat = states.view(pages * kv_heads, page_size, head_dim)
        return flat.index_select(0, index).view(rows, kv_heads, -1, head_dim)

    return pick(cache.keys), pick(cache.values)


def _causal(q: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    """Queries (count, heads, head_dim) are the last of the tokens (1, kv_heads, total, head_dim)."""
    count, total = len(q), keys.shape[2]
    mask = None
    if count < total:
        mask = torch.ones(count, total, dtype=torch.bool, device=q.device).tril(total - count)
    attended = scaled_dot_product_attention(
        q.transpose(0, 1)[None], keys, values, attn_mask=mask, is_causal=mask is None, enable_gqa=True
    )
    return attended[0].transpose(0, 1)
