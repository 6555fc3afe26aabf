"""Rotary positions of the vision tower."""

# mypy: allow-untyped-defs, allow-untyped-decorators, disable-error-code="import-untyped"
from __future__ import annotations

import triton
import triton.language as tl
from torch import Tensor

HEADS_PER_PROGRAM = 8
WARPS = 2


def rotate_half(qkv: Tensor, cos: Tensor, sin: Tensor, heads: int) -> tuple[Tensor, Tensor]:
    """As rotate_half of ..vision; head_dim must be a power of 2."""
    rows, half = cos.shape
    turned = qkv.new_empty(2, rows, heads, 2 * half)
    grid = (rows, triton.cdiv(2 * heads, HEADS_PER_PROGRAM))
    rotate_half_kernel[grid](qkv, cos, sin, turned, rows, heads, half, HEADS_PER_PROGRAM, num_warps=WARPS)
    return turned[0], turned[1]


@triton.jit(do_not_specialize=["rows"])
def rotate_half_kernel(
    qkv,
    cos,
    sin,
    turned,
    rows,
    heads: tl.constexpr,
    half: tl.constexpr,
    heads_per_program: tl.constexpr,
):
    row = tl.program_id(0).to(tl.int64)
    # Queries first, keys behind them: both have `heads` of them.
    head = tl.program_id(1) * heads_per_program + tl.arange(0, heads_per_program)[:, None]
    inside = head < 2 * heads
    pair = tl.arange(0, half)[None, :]
    states = qkv + (row * 3 * heads + head) * 2 * half + pair
    first = tl.load(states, mask=inside, other=0)
    second = tl.load(states + half, mask=inside, other=0).to(tl.float32)
    wide = first.to(tl.float32)
    cosine = tl.load(cos + row * half + pair)
    sine = tl.load(sin + row * half + pair)

    to = turned + (((head // heads) * rows + row) * heads + head % heads) * 2 * half + pair
    tl.store(to, (wide * cosine - second * sine).to(first.dtype), mask=inside)
    tl.store(to + half, (second * cosine + wide * sine).to(first.dtype), mask=inside)
