"""
Linears of a few rows, which take as long as it takes to read their weight.

A program reads its rows of the weight once, from end to end, and nobody else reads them; each is a column of
the result. What counts is that enough loads are under way at all times: every multiprocessor has a few
programs, which wait for several tiles each, and no program starts when the others are nearly done.
"""

# mypy: allow-untyped-defs, allow-untyped-decorators, disable-error-code="import-untyped"
from __future__ import annotations

from dataclasses import dataclass

import torch
import triton
import triton.language as tl
from torch import Tensor

from .card import Card

MAX_ROWS = 16
"""Of the kernel: the smallest side of a product on matrix units."""
PROGRAMS_PER_MULTIPROCESSOR = 2
BLOCK = 32
MIN_BLOCK = 16
STEP_BYTES = 512
MAX_STAGES = 8
WARPS = 4
RESERVED = 1024
"""Bytes of shared memory that CUDA takes for itself, of each program."""


@dataclass(frozen=True, slots=True)
class Tiling:
    """How the work is cut up for one shape."""

    columns: int
    """Columns of the result that a program computes."""
    block: int
    """Rows of the weight in a tile, a power of 2: one for each column of a program, two if gated."""
    step: int
    """Numbers of each row in a tile, a power of 2."""
    stages: int
    warps: int


def tiling_of(width: int, rows: int, dtype: torch.dtype, card: Card, *, gated: bool = False) -> Tiling:
    """
    For `width` columns of the result. Every program has as many of them as the others, and the last programs
    to start fill the card like the first.
    """
    per_column = 2 if gated else 1
    resident = card.multiprocessors * PROGRAMS_PER_MULTIPROCESSOR
    waves = triton.cdiv(width * per_column, BLOCK * resident)
    columns = triton.cdiv(width, waves * resident)
    block = max(MIN_BLOCK, triton.next_power_of_2(columns * per_column))
    step = STEP_BYTES // dtype.itemsize
    tile = (block + _block_rows(rows)) * STEP_BYTES
    room = card.shared_memory // PROGRAMS_PER_MULTIPROCESSOR - RESERVED
    # One stage is in registers.
    stages = min(max(room // tile, 1) + 1, MAX_STAGES)
    return Tiling(columns, block, step, stages, WARPS)


def linear(x: Tensor, weight: Tensor, bias: Tensor | None, tiling: Tiling) -> Tensor:
    """As Ops.linear, of MAX_ROWS rows at most."""
    return _launch(x, weight, bias, len(weight), tiling, gated=False)


def gated(x: Tensor, gate_up: Tensor, tiling: Tiling) -> Tensor:
    """As Ops.gated, of MAX_ROWS rows at most; gate and up are not rounded before they are multiplied."""
    return _launch(x, gate_up, None, len(gate_up) // 2, tiling, gated=True)


def _launch(
    x: Tensor, weight: Tensor, bias: Tensor | None, width: int, tiling: Tiling, *, gated: bool
) -> Tensor:
    rows, depth = x.shape
    product = x.new_empty(rows, width)
    linear_kernel[triton.cdiv(width, tiling.columns),](
        x,
        weight,
        bias,
        product,
        rows,
        width,
        depth,
        tiling.columns,
        gated,
        _block_rows(rows),
        tiling.block,
        tiling.step,
        tiling.stages,
        num_warps=tiling.warps,
    )
    return product


def _block_rows(rows: int) -> int:
    """One row is multiplied without matrix units, which would multiply fifteen more."""
    return 1 if rows == 1 else MAX_ROWS


@triton.jit(do_not_specialize=["rows", "columns"])
def linear_kernel(
    x,
    weight,
    bias,
    product,
    rows,
    width,
    depth,
    columns,
    gated: tl.constexpr,
    block_rows: tl.constexpr,
    block: tl.constexpr,
    step: tl.constexpr,
    stages: tl.constexpr,
):
    first = tl.program_id(0) * columns
    end = tl.minimum(first + columns, width)
    line = tl.arange(0, block)
    if gated:
        # The lines of a tile are gate and up of one column, then of the next.
        column = first + line // 2
        source = column + line % 2 * width
    else:
        column = first + line
        source = column
    lines = weight + source.to(tl.int64)[:, None] * depth
    owned = column < end
    if block_rows == 1:
        sums = _one_row(x, lines, owned, depth, block, step, stages)
    else:
        sums = _few_rows(x, lines, owned, rows, depth, block_rows, block, step, stages)
    if gated:
        gate, up = tl.split(tl.reshape(sums, [block_rows, block // 2, 2]))
        sums = gate * tl.sigmoid(gate) * up
        column = first + tl.arange(0, block // 2)
        owned = column < end
    if bias is not None:
        sums += tl.load(bias + column, mask=owned, other=0).to(tl.float32)[None, :]
    row = tl.arange(0, block_rows)[:, None]
    at = row * width + column[None, :]
    tl.store(product + at, sums.to(product.dtype.element_ty), mask=(row < rows) & owned[None, :])


@triton.jit
def _one_row(x, lines, owned, depth, block: tl.constexpr, step: tl.constexpr, stages: tl.constexpr):
    """(1, block) products of x and the lines of the weight."""
    number = tl.arange(0, step)
    # Added up across threads only once, at the end.
    sums = tl.zeros([block, step], tl.float32)
    for start in tl.range(0, depth, step, num_stages=stages):
        here = start + number
        tile = tl.load(lines + here[None, :], mask=owned[:, None] & (here < depth)[None, :], other=0)
        numbers = tl.load(x + here, mask=here < depth, other=0)
        sums += tile.to(tl.float32) * numbers.to(tl.float32)[None, :]
    return tl.sum(sums, axis=1)[None, :]


@triton.jit
def _few_rows(
    x,
    lines,
    owned,
    rows,
    depth,
    block_rows: tl.constexpr,
    block: tl.constexpr,
    step: tl.constexpr,
    stages: tl.constexpr,
):
    """(block_rows, block) products of the rows of x and the lines of the weight."""
    number = tl.arange(0, step)
    row = tl.arange(0, block_rows)[:, None]
    sums = tl.zeros([block_rows, block], tl.float32)
    for start in tl.range(0, depth, step, num_stages=stages):
        here = (start + number)[None, :]
        tile = tl.load(lines + here, mask=owned[:, None] & (here < depth), other=0)
        numbers = tl.load(x + row * depth + here, mask=(row < rows) & (here < depth), other=0)
        sums = tl.dot(numbers, tl.trans(tile), sums, input_precision="ieee")
    return sums
