"""RMS normalisation, alone and with the residual stream."""

# mypy: allow-untyped-defs, allow-untyped-decorators, disable-error-code="import-untyped"
from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

WARPS = 8


def rms_norm(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    """As Ops.rms_norm."""
    rows, hidden = x.shape
    normed = torch.empty_like(x)
    block = triton.next_power_of_2(hidden)
    rms_norm_kernel[(rows,)](x, weight, normed, eps, hidden, block, num_warps=WARPS)
    return normed


def add_rms_norm(residual: Tensor, x: Tensor, post_weight: Tensor, next_weight: Tensor, eps: float) -> Tensor:
    """As Ops.add_rms_norm."""
    rows, hidden = x.shape
    normed = torch.empty_like(x)
    block = triton.next_power_of_2(hidden)
    add_rms_norm_kernel[(rows,)](
        residual, x, post_weight, next_weight, normed, eps, hidden, block, num_warps=WARPS
    )
    return normed


@triton.jit
def rms_norm_kernel(x, weight, normed, eps, hidden: tl.constexpr, block: tl.constexpr):
    column = tl.arange(0, block)
    inside = column < hidden
    row = tl.program_id(0).to(tl.int64) * hidden + column
    w = tl.load(weight + column, mask=inside, other=0)
    tl.store(normed + row, _normalise(tl.load(x + row, mask=inside, other=0), w, eps, hidden), mask=inside)


@triton.jit
def add_rms_norm_kernel(
    residual, x, post_weight, next_weight, normed, eps, hidden: tl.constexpr, block: tl.constexpr
):
    column = tl.arange(0, block)
    inside = column < hidden
    row = tl.program_id(0).to(tl.int64) * hidden + column
    # All loads come first: with few rows this kernel is as long as the trips to memory that it waits for.
    post_w = tl.load(post_weight + column, mask=inside, other=0)
    next_w = tl.load(next_weight + column, mask=inside, other=0)
    before = tl.load(residual + row, mask=inside, other=0)
    after = before + _normalise(tl.load(x + row, mask=inside, other=0), post_w, eps, hidden)
    tl.store(residual + row, after, mask=inside)
    tl.store(normed + row, _normalise(after, next_w, eps, hidden), mask=inside)


@triton.jit
def _normalise(x, weight, eps, hidden: tl.constexpr):
    wide = x.to(tl.float32)
    scale = tl.rsqrt(tl.sum(wide * wide, axis=0) / hidden + eps)
    return weight * (wide * scale).to(x.dtype)
