"""The gate of the MLP."""

# mypy: allow-untyped-defs, allow-untyped-decorators, disable-error-code="import-untyped"
from __future__ import annotations

import triton
import triton.language as tl
from torch import Tensor

BLOCK = 1024


def silu_mul(gate_up: Tensor) -> Tensor:
    """As Ops.silu_mul."""
    rows, width = gate_up.shape
    half = width // 2
    product = gate_up.new_empty(rows, half)
    silu_mul_kernel[(rows, triton.cdiv(half, BLOCK))](gate_up, product, half, BLOCK)
    return product


@triton.jit
def silu_mul_kernel(gate_up, product, half: tl.constexpr, block: tl.constexpr):
    row = tl.program_id(0).to(tl.int64)
    column = tl.program_id(1) * block + tl.arange(0, block)
    inside = column < half
    gate = tl.load(gate_up + row * 2 * half + column, mask=inside, other=0)
    up = tl.load(gate_up + row * 2 * half + half + column, mask=inside, other=0)
    wide = gate.to(tl.float32)
    gated = (wide * tl.sigmoid(wide)).to(gate.dtype)
    tl.store(product + row * half + column, gated * up, mask=inside)
