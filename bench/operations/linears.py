"""Linears of few rows: torch's beside ours, cut up in many ways."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context

import torch
from torch import Tensor
from torch.nn import functional

from glimpse_worker.engine.paged.kernels import linear as kernel
from glimpse_worker.engine.paged.kernels.linear import MAX_ROWS, Cut, Tiling

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


CUTS = (
    Cut(1, 32, 512),
    Cut(2, 32, 512),
    Cut(3, 32, 512),
    Cut(4, 32, 512),
    Cut(2, 16, 1024),
    Cut(2, 8, 2048),
    Cut(3, 8, 2048),
    Cut(2, 32, 1024, warps=8),
    Cut(1, 64, 256),
    Cut(2, 64, 512),
    Cut(2, 64, 256, warps=2),
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
        (tiling, count, linear.gated)
        for linear in _linears(bench)
        for count in (1, MAX_ROWS)
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
        for name, tiling in _tilings(bench, linear, len(x)):
            yield name, [partial(_run, x, weight, tiling, linear.gated) for weight in weights]


def _tilings(bench: Bench, linear: Linear, rows: int) -> Iterator[tuple[str, Tiling]]:
    """Those that differ for this shape; that of the engine first, if it has one."""
    width = linear.width // 2 if linear.gated else linear.width
    shipped = kernel.tiling_of(width, rows, bench.dtype, bench.card, gated=linear.gated)
    seen = {shipped}
    if shipped is not None:
        yield "shipped", shipped
    for cut in CUTS:
        tiling = kernel.cut_up(width, rows, bench.dtype, bench.card, cut, gated=linear.gated)
        if tiling not in seen:
            seen.add(tiling)
            yield f"{cut.programs} × {cut.block} lines of {cut.step_bytes} B, {cut.warps} warps", tiling


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
