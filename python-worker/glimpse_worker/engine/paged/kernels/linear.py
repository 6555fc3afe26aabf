"""
Linears of a few rows, which take as long as it takes to read their weight.

A program reads its rows of the weight once, from end to end, and nobody else reads them; each is a column of
the result. What counts is that enough loads are under way at all times: every multiprocessor has a few
programs, which wait for several tiles each, and no program starts when the others are nearly done.
"""

# mypy: allow-untyped-defs, allow-untyped-decorators, disable-error-code="import-untyped"
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import triton
import triton.language as tl
from torch import Tensor

from .card import Card

MAX_ROWS = 16
"""Of the kernel: the smallest side of a product on matrix units. With 32 it was no faster than torch's."""
MAX_STAGES = 8
RESERVED = 1024
"""Bytes of shared memory that CUDA takes for itself, of each program."""
LEAST_FILLED = 0.6
"""Of a tile. Below, torch's product of several rows is faster."""


@dataclass(frozen=True, slots=True)
class Cut:
    """How to cut up any shape."""

    programs: int
    """Of one multiprocessor at the same time."""
    block: int
    """Lines of the weight in a tile, at most."""
    step_bytes: int
    """Of each line in a tile."""
    warps: int = 4


# Measured by bench/kernels.py on an H200, at the shapes of GLM-4.1V-9B.
ONE_ROW = (Cut(2, 32, 512), Cut(3, 32, 512))
ONE_ROW_WIDE = Cut(2, 8, 2048)
FEW_ROWS = Cut(1, 32, 512)
FEW_ROWS_WIDE = Cut(2, 64, 512)


@dataclass(frozen=True, slots=True)
class Tiling:
    """How the work is cut up for one shape."""

    programs: int
    """Of one multiprocessor at the same time."""
    columns: int
    """Columns of the result that a program computes."""
    block: int
    """Lines of the weight in a tile, a power of 2: one for each column of a program, two if gated."""
    step: int
    """Numbers of each line in a tile, a power of 2."""
    stages: int
    warps: int


def tiling_of(width: int, rows: int, dtype: torch.dtype, card: Card, *, gated: bool = False) -> Tiling | None:
    """For `width` columns of the result. None where torch's product is the faster one."""
    if rows > MAX_ROWS:
        return None
    lines = 2 * width if gated else width
    wide = lines > 64 * card.multiprocessors
    if rows == 1:
        cuts: Sequence[Cut] = (ONE_ROW_WIDE,) if wide else ONE_ROW
    else:
        cuts = (FEW_ROWS_WIDE if wide else FEW_ROWS,)
    tilings = [cut_up(width, rows, dtype, card, cut, gated=gated) for cut in cuts]
    best = max(tilings, key=lambda tiling: tiling.columns / tiling.block)
    filled = best.columns * (2 if gated else 1) / best.block
    return None if rows > 1 and filled < LEAST_FILLED else best


def cut_up(width: int, rows: int, dtype: torch.dtype, card: Card, cut: Cut, *, gated: bool = False) -> Tiling:
    """
    Every program has as many columns as the others, and the last programs to start fill the card like the
    first.
    """
    per_column = 2 if gated else 1
    resident = card.multiprocessors * cut.programs
    waves = triton.cdiv(width * per_column, cut.block * resident)
    columns = triton.cdiv(width, waves * resident)
    block = max(8 if rows == 1 else MAX_ROWS, triton.next_power_of_2(columns * per_column))
    tile = (block + _block_rows(rows)) * cut.step_bytes
    room = card.shared_memory // cut.programs - RESERVED
    # One stage is in registers.
    stages = min(max(room // tile, 1) + 1, MAX_STAGES)
    return Tiling(cut.programs, columns, block, cut.step_bytes // dtype.itemsize, stages, cut.warps)


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
