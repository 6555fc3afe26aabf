"""Rotary positions, and where keys and values go in the cache."""

# mypy: allow-untyped-defs, allow-untyped-decorators, disable-error-code="import-untyped"
from __future__ import annotations

import triton
import triton.language as tl
from torch import Tensor

from ..ops import LayerCache

HEADS_PER_PROGRAM = 4
WARPS = 2


def rotate_and_store(
    qkv: Tensor, cos: Tensor, sin: Tensor, cache: LayerCache, slots: Tensor, heads: int
) -> Tensor:
    """As Ops.rotate_and_store."""
    _, kv_heads, page_size, head_dim = cache.keys.shape
    # Angles are easily the transpose of something, which would be read in the wrong order without a word.
    assert cos.is_contiguous()
    assert sin.is_contiguous()
    rows = len(qkv)
    q = qkv.new_empty(rows, heads, head_dim)
    grid = (rows, triton.cdiv(heads + 2 * kv_heads, HEADS_PER_PROGRAM))
    rotate_and_store_kernel[grid](
        qkv,
        cos,
        sin,
        slots,
        q,
        cache.keys,
        cache.values,
        heads,
        kv_heads,
        head_dim,
        2 * cos.shape[1],
        page_size,
        HEADS_PER_PROGRAM,
        num_warps=WARPS,
    )
    return q


@triton.jit(do_not_specialize_on_alignment=["cos", "sin", "slots"])
def rotate_and_store_kernel(
    qkv,
    cos,
    sin,
    slots,
    q,
    keys,
    values,
    heads: tl.constexpr,
    kv_heads: tl.constexpr,
    head_dim: tl.constexpr,
    rotary_dim: tl.constexpr,
    page_size: tl.constexpr,
    heads_per_program: tl.constexpr,
):
    row = tl.program_id(0).to(tl.int64)
    head = tl.program_id(1) * heads_per_program + tl.arange(0, heads_per_program)[:, None]
    number = tl.arange(0, head_dim)[None, :]
    states = qkv + row * (heads + 2 * kv_heads) * head_dim + head * head_dim
    inside = head < heads + 2 * kv_heads
    x = tl.load(states + number, mask=inside, other=0)

    turns = (head < heads + kv_heads) & (number < rotary_dim)
    partner = tl.load(states + (number ^ 1), mask=turns, other=0).to(tl.float32)
    angle = row * (rotary_dim // 2) + number // 2
    cosine = tl.load(cos + angle, mask=number < rotary_dim, other=1)
    sine = tl.load(sin + angle, mask=number < rotary_dim, other=0)
    signed = tl.where(number % 2 == 0, -partner, partner)
    x = tl.where(turns, x * cosine + signed * sine, x).to(x.dtype)

    tl.store(q + (row * heads + head) * head_dim + number, x, mask=head < heads)
    slot = tl.load(slots + row)
    page = (slot // page_size).to(tl.int64) * kv_heads
    is_key = (head >= heads) & (head < heads + kv_heads)
    to_key = ((page + head - heads) * page_size + slot % page_size) * head_dim + number
    tl.store(keys + to_key, x, mask=is_key & (slot >= 0))
    is_value = inside & (head >= heads + kv_heads)
    to_value = ((page + head - heads - kv_heads) * page_size + slot % page_size) * head_dim + number
    tl.store(values + to_value, x, mask=is_value & (slot >= 0))
