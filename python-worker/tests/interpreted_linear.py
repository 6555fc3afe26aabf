"""Linears of few rows in Triton are as exact as torch's, whatever their shape. Run by test_kernels.py."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from glimpse_worker.engine.paged.kernels import linear
from glimpse_worker.engine.paged.kernels.card import Card
from glimpse_worker.engine.paged.kernels.linear import MAX_ROWS, Tiling, tiling_of
from glimpse_worker.engine.paged.torch_ops import TorchOps
from glimpse_worker.engine.paged.triton_ops import TritonOps

SMALL_CARD = Card(multiprocessors=1, shared_memory=64 * 1024)
WIDE_CARD = Card(multiprocessors=6, shared_memory=227 * 1024)
CPU = torch.device("cpu")
SHAPES = [(96, 256), (51, 704), (1, 40)]
"""Of weights: (out_features, in_features)."""


@pytest.fixture(autouse=True)
def _same_numbers_every_time() -> None:
    torch.manual_seed(0)


def _weight(width: int, depth: int) -> Tensor:
    return (torch.randn(width, depth) / math.sqrt(depth)).half()


def _expect(actual: Tensor, theirs: Tensor, exact: Tensor) -> None:
    """No further from the exact result than torch is."""
    assert actual.dtype == theirs.dtype
    assert actual.shape == exact.shape
    assert _rms(actual - exact) <= 1.05 * _rms(theirs - exact)
    torch.testing.assert_close(actual.double(), exact, rtol=1e-2, atol=1e-2)


def _rms(x: Tensor) -> float:
    return x.double().square().mean().sqrt().item()


@pytest.mark.parametrize("card", [SMALL_CARD, WIDE_CARD])
@pytest.mark.parametrize("rows", [1, 2, MAX_ROWS])
@pytest.mark.parametrize(("width", "depth"), SHAPES)
def test_linear(width: int, depth: int, rows: int, card: Card) -> None:
    x, weight, bias = torch.randn(rows, depth).half(), _weight(width, depth), torch.randn(width).half()
    ops = TritonOps(CPU, card)
    for added in (bias, None):
        exact = functional.linear(x.double(), weight.double(), None if added is None else added.double())
        _expect(ops.linear(x, weight, added), functional.linear(x, weight, added), exact)


@pytest.mark.parametrize("card", [SMALL_CARD, WIDE_CARD])
@pytest.mark.parametrize("rows", [1, 3, MAX_ROWS])
@pytest.mark.parametrize(("width", "depth"), SHAPES)
def test_gate(width: int, depth: int, rows: int, card: Card) -> None:
    x, gate_up = torch.randn(rows, depth).half(), _weight(2 * width, depth)
    gate, up = functional.linear(x.double(), gate_up.double()).chunk(2, dim=-1)
    expected = functional.silu(gate) * up
    _expect(TritonOps(CPU, card).gated(x, gate_up), TorchOps().gated(x, gate_up), expected)


@pytest.mark.parametrize("rows", [1, 4])
def test_what_lies_beside_a_tensor_is_not_read(rows: int) -> None:
    """All three are part of something larger, which is NaN elsewhere."""
    width, depth = 50, 300
    x, weight, bias = (
        torch.full((size + 2048,), torch.nan, dtype=torch.float16)
        for size in (rows * depth, width * depth, width)
    )
    for around, size in ((x, rows * depth), (weight, width * depth), (bias, width)):
        around[1024 : 1024 + size] = torch.randn(size)
    actual = TritonOps(CPU, SMALL_CARD).linear(
        x[1024 : 1024 + rows * depth].view(rows, depth),
        weight[1024 : 1024 + width * depth].view(width, depth),
        bias[1024 : 1024 + width],
    )
    assert actual.isfinite().all()


def test_many_rows_are_multiplied_too() -> None:
    x, weight, bias = torch.randn(MAX_ROWS + 1, 64).half(), _weight(48, 64), torch.randn(48).half()
    ops = TritonOps(CPU, SMALL_CARD)
    assert torch.equal(ops.linear(x, weight, bias), functional.linear(x, weight, bias))
    torch.testing.assert_close(ops.gated(x, weight), TorchOps().gated(x, weight), rtol=2e-3, atol=1e-4)


@pytest.mark.parametrize("rows", [1, 5])
@pytest.mark.parametrize(
    "tiling",
    [
        Tiling(programs=1, columns=7, block=16, step=32, stages=2, warps=4),
        Tiling(programs=1, columns=16, block=16, step=128, stages=8, warps=4),
        Tiling(programs=1, columns=40, block=64, step=64, stages=3, warps=8),
    ],
)
def test_how_the_work_is_cut_up_does_not_matter(tiling: Tiling, rows: int) -> None:
    x, weight, bias = torch.randn(rows, 200), torch.randn(90, 200), torch.randn(90)
    torch.testing.assert_close(
        linear.linear(x, weight, bias, tiling), functional.linear(x, weight, bias), rtol=1e-5, atol=1e-5
    )
    half = replace(tiling, columns=tiling.block // 2 - 1)
    torch.testing.assert_close(
        linear.gated(x, weight, half), TorchOps().gated(x, weight), rtol=1e-5, atol=1e-4
    )


@pytest.mark.parametrize("block_rows", [1, MAX_ROWS])
def test_a_program_computes_its_own_columns_only(block_rows: int) -> None:
    """What another one computes too costs the time of reading it twice."""
    x, weight, product = torch.randn(1, 64), torch.randn(20, 64), torch.full((1, 20), torch.nan)
    linear.linear_kernel[1,](x, weight, None, product, 1, 20, 64, 5, False, block_rows, 16, 32, 2)
    torch.testing.assert_close(product[:, :5], functional.linear(x, weight[:5]), rtol=1e-5, atol=1e-5)
    assert product[:, 5:].isnan().all()


@pytest.mark.parametrize("multiprocessors", [84, 114, 132, 304])
@pytest.mark.parametrize("gated", [False, True])
@pytest.mark.parametrize("width", [4096, 4608, 13696, 151_552])
@pytest.mark.parametrize("rows", [1, MAX_ROWS])
def test_programs_fill_the_card_to_the_end(rows: int, width: int, gated: bool, multiprocessors: int) -> None:
    """Nobody waits for a few programs that started last, or for one that has more to do than others."""
    card = Card(multiprocessors, shared_memory=227 * 1024)
    tiling = tiling_of(width, rows, torch.bfloat16, card, gated=gated)
    if tiling is None:
        assert rows > 1
        return
    resident = multiprocessors * tiling.programs
    waves = -(-width // (tiling.columns * resident))
    assert width / (waves * resident * tiling.columns) > 0.8
    assert tiling.columns * (2 if gated else 1) <= tiling.block
    assert tiling.block & (tiling.block - 1) == 0


@pytest.mark.parametrize("shared_memory", [99 * 1024, 227 * 1024])
@pytest.mark.parametrize("rows", [1, 2, MAX_ROWS])
@pytest.mark.parametrize("width", [4096, 151_552])
def test_the_programs_of_a_multiprocessor_fit_into_its_memory(
    width: int, rows: int, shared_memory: int
) -> None:
    tiling = tiling_of(width, rows, torch.bfloat16, Card(132, shared_memory))
    assert tiling is not None
    tile = 2 * tiling.step * (tiling.block + rows)
    taken = (tiling.stages - 1) * tile + linear.RESERVED
    assert taken * tiling.programs <= shared_memory
    assert tiling.stages >= 2


def test_a_larger_card_gets_smaller_programs() -> None:
    tilings = [tiling_of(4096, 1, torch.bfloat16, Card(count, 64 * 1024)) for count in (84, 132, 304)]
    sizes = [tiling.columns for tiling in tilings if tiling is not None]
    assert len(sizes) == 3
    assert all(before > after for before, after in pairwise(sizes))


def test_tiles_that_would_be_half_empty_are_left_to_torch() -> None:
    card = Card(132, 227 * 1024)
    assert tiling_of(4096, 8, torch.bfloat16, card) is not None
    assert tiling_of(4608, 8, torch.bfloat16, card) is None
    assert tiling_of(4608, 1, torch.bfloat16, card) is not None
