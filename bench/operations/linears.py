"""Linears of few rows: torch's beside ours, cut up in many ways."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from multiprocessing import get_context
from unittest.mock import patch

import torch
from torch import Tensor
from torch.nn import functional

from glimpse_worker.engine.paged.kernels import linear as kernel
from glimpse_worker.engine.paged.kernels.linear import MAX_ROWS, Tiling

from ..report import Row
from .bench import Bench, rows_of
from .timing import Call

PROCESSES = 8
CALLS = 8
"""At least so many are in a graph."""


@dataclass(frozen=True, slots=True)
class Linear:
    name: str
    width: int
    """Of the weight; of what comes out, half of it when gated."""
    depth: int
    gated: bool = False


@dataclass(frozen=True, slots=True)
class Choice:
    """Of the constants of kernels/linear.py."""

    PROGRAMS_PER_MULTIPROCESSOR: int = kernel.PROGRAMS_PER_MULTIPROCESSOR
    BLOCK: int = kernel.BLOCK
    MIN_BLOCK: int = kernel.MIN_BLOCK
    STEP_BYTES: int = kernel.STEP_BYTES
    WARPS: int = kernel.WARPS
    MAX_STAGES: int = kernel.MAX_STAGES

    def __str__(self) -> str:
        return (
            f"{self.PROGRAMS_PER_MULTIPROCESSOR} × {self.BLOCK} lines of {self.STEP_BYTES} B, "
            f"{self.WARPS} warps, ≤{self.MAX_STAGES}"
        )


SHIPPED = Choice()
CHOICES = (
    SHIPPED,
    Choice(PROGRAMS_PER_MULTIPROCESSOR=1),
    Choice(PROGRAMS_PER_MULTIPROCESSOR=3),
    Choice(PROGRAMS_PER_MULTIPROCESSOR=4),
    Choice(MAX_STAGES=4),
    Choice(BLOCK=16),
    Choice(BLOCK=16, PROGRAMS_PER_MULTIPROCESSOR=4),
    Choice(BLOCK=16, STEP_BYTES=1024),
    Choice(BLOCK=8, MIN_BLOCK=8, STEP_BYTES=2048),
    Choice(STEP_BYTES=1024),
    Choice(STEP_BYTES=1024, WARPS=8),
    Choice(BLOCK=64),
    Choice(BLOCK=64, STEP_BYTES=1024, WARPS=8),
    Choice(BLOCK=64, STEP_BYTES=256, WARPS=2),
)


def linears(bench: Bench) -> list[Row]:
    """GB/s of the weights, with the best choice of each shape at the end."""
    rows: list[Row] = []
    best: list[Row] = []
    for linear in _linears(bench):
        bytes = linear.width * linear.depth * bench.dtype.itemsize
        weights = [bench.weight(linear.width, linear.depth) for _ in range(bench.copies(bytes))]
        weights *= -(-CALLS // len(weights))
        for count in bench.sizes.rows:
            x = bench.numbers(count, linear.depth)
            measured = [
                bench.bandwidth(f"{linear.name}, {rows_of(count)}: {name}", calls, bytes)
                for name, calls in _contenders(bench, linear, x, weights)
            ]
            rows += measured
            best.append(max(measured, key=lambda row: row.spread.median))
    print("best:\n" + "\n".join(f"{row.name:70} {row.spread.median:8.0f} GB/s" for row in best))
    return rows


def exact(bench: Bench) -> list[Row]:
    """Raises when a result of ours is further from that of float32 than torch's is."""
    rows: list[Row] = []
    for linear in _linears(bench):
        weight = bench.weight(linear.width, linear.depth)
        for count in (count for count in bench.sizes.rows if count <= MAX_ROWS):
            x = bench.numbers(count, linear.depth)
            wide = functional.linear(x.float(), weight.float())
            expected = _gate(wide) if linear.gated else wide
            ours, theirs = (
                _rms(call() - expected)
                for call in (partial(way, bench, linear, x, weight) for way in (_ours, _theirs))
            )
            name = f"{linear.name}, {rows_of(count)}: error, over torch's"
            rows.append(Row(name=name, values=[ours / theirs], unit="times", target=1.05))
            print(f"{name:58} {ours / theirs:10.3f}", flush=True)
    if worst := [row.name for row in rows if not row.reached]:
        raise AssertionError(f"not exact: {', '.join(worst)}")
    return rows


def compile_all(bench: Bench) -> list[Row]:
    """In several processes, into Triton's cache, where the other sections find it."""
    if bench.device.type == "cpu":
        return []
    wanted = {
        (tiling, 1 if count == 1 else MAX_ROWS, linear.gated)
        for linear in _linears(bench)
        for count in (1, 2)
        for _, tiling in _tilings(bench, linear, count)
    }
    print(f"{len(wanted)} kernels", flush=True)
    workers = min(PROCESSES, os.cpu_count() or 1)
    with ProcessPoolExecutor(workers, get_context("spawn")) as pool:
        for made in [pool.submit(_compile, *one) for one in wanted]:
            made.result()
    return []


def _compile(tiling: Tiling, rows: int, gated: bool) -> None:
    """The kernel is the same for all widths and depths that 16 divides."""
    x, weight = (
        torch.zeros(count, 1024, dtype=torch.bfloat16, device="cuda") for count in (rows, 32 * tiling.block)
    )
    _run(x, weight, tiling, gated)


def _linears(bench: Bench) -> Iterator[Linear]:
    sizes = bench.sizes
    yield Linear("qkv", (sizes.heads + 2 * sizes.kv_heads) * sizes.head_dim, sizes.hidden)
    yield Linear("output", sizes.hidden, sizes.heads * sizes.head_dim)
    yield Linear("gate_up", 2 * sizes.intermediate, sizes.hidden, gated=True)
    yield Linear("down", sizes.hidden, sizes.intermediate)
    yield Linear("lm_head", sizes.vocabulary, sizes.hidden)


def _contenders(
    bench: Bench, linear: Linear, x: Tensor, weights: list[Tensor]
) -> Iterator[tuple[str, list[Call]]]:
    yield "torch", [partial(_theirs, bench, linear, x, weight) for weight in weights]
    if len(x) <= MAX_ROWS:
        for choice, tiling in _tilings(bench, linear, len(x)):
            yield f"{choice}", [partial(_run, x, weight, tiling, linear.gated) for weight in weights]


def _tilings(bench: Bench, linear: Linear, rows: int) -> Iterator[tuple[Choice, Tiling]]:
    """Those that differ for this shape."""
    seen: set[Tiling] = set()
    for choice in CHOICES:
        with patch.multiple(kernel, **asdict(choice)):
            width = linear.width // 2 if linear.gated else linear.width
            tiling = kernel.tiling_of(width, rows, bench.dtype, bench.card, gated=linear.gated)
        if tiling not in seen:
            seen.add(tiling)
            yield choice, tiling


def _run(x: Tensor, weight: Tensor, tiling: Tiling, gated: bool) -> Tensor:
    return kernel.gated(x, weight, tiling) if gated else kernel.linear(x, weight, None, tiling)


def _ours(bench: Bench, linear: Linear, x: Tensor, weight: Tensor) -> Tensor:
    return bench.ops.gated(x, weight) if linear.gated else bench.ops.linear(x, weight)


def _theirs(bench: Bench, linear: Linear, x: Tensor, weight: Tensor) -> Tensor:
    product = functional.linear(x, weight)
    return bench.ops.silu_mul(product) if linear.gated else product


def _gate(gate_up: Tensor) -> Tensor:
    gate, up = gate_up.chunk(2, dim=-1)
    return functional.silu(gate) * up


def _rms(x: Tensor) -> float:
    return float(x.float().square().mean().sqrt())
