"""How fast the device copies, reads and multiplies: what everything else is held against."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from .report import Row
from .timing import Spread, seconds

GPU_BYTES = 4 * 1024**3
CPU_BYTES = 256 * 1024**2
GPU_SIDE = 8192
CPU_SIDE = 1024
REPETITIONS = 7
INNER = 10


@dataclass(frozen=True, slots=True)
class Ceilings:
    """Of one device: bytes read per second, and operations per second of a product of `dtype`."""

    read: float
    multiply: float
    rows: tuple[Row, ...]


def measure(device: torch.device, dtype: torch.dtype) -> Ceilings:
    """Takes two seconds of a GPU."""
    copied, read = _bandwidths(device)
    side = GPU_SIDE if device.type == "cuda" else CPU_SIDE
    products = _products(device, dtype, side)
    name = str(dtype).removeprefix("torch.")
    rows = (
        Row(name="copy, bytes read and written", values=[value / 1e12 for value in copied], unit="TB/s"),
        Row(name="read, a sum", values=[value / 1e12 for value in read], unit="TB/s"),
        Row(
            name=f"{name} product of {side} × {side}",
            values=[value / 1e12 for value in products],
            unit="TFLOP/s",
        ),
    )
    # The faster of the two: no figure may be better than its ceiling because a sum is slow.
    fastest = max(Spread.of(copied).median, Spread.of(read).median)
    return Ceilings(fastest, Spread.of(products).median, rows)


def _bandwidths(device: torch.device) -> tuple[list[float], list[float]]:
    """Bytes per second of a copy, which reads and writes, and of a sum, which reads."""
    on_gpu = device.type == "cuda"
    source = torch.ones((GPU_BYTES if on_gpu else CPU_BYTES) // 4, dtype=torch.float32, device=device)
    target = torch.empty_like(source)
    inner = INNER if on_gpu else 1
    copying = seconds(lambda: target.copy_(source), device, repetitions=REPETITIONS, inner=inner)
    reading = seconds(source.sum, device, repetitions=REPETITIONS, inner=inner)
    return [2 * source.nbytes / took for took in copying], [source.nbytes / took for took in reading]


def _products(device: torch.device, dtype: torch.dtype, side: int) -> list[float]:
    """Operations per second. The matrices are random: zeros multiply faster."""
    left, right = (torch.randn(side, side, device=device, dtype=dtype) for _ in range(2))
    inner = INNER if device.type == "cuda" else 1
    taken = seconds(lambda: torch.mm(left, right), device, repetitions=REPETITIONS, inner=inner)
    return [2 * side**3 / took for took in taken]
