"""Repetitions of one thing, and what to say of them."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch


@dataclass(frozen=True, slots=True)
class Spread:
    """The middle of some repetitions, and their extremes."""

    median: float
    low: float
    high: float
    count: int

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        return cls(statistics.median(values), min(values), max(values), len(values))


def settle(device: torch.device) -> None:
    """Waits until the device has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def seconds(
    run: Callable[[], object], device: torch.device, *, repetitions: int, warm: int = 2, inner: int = 1
) -> list[float]:
    """How long `run` takes, from an idle device to an idle device, `inner` runs after one another."""
    for _ in range(warm):
        run()
    taken: list[float] = []
    for _ in range(repetitions):
        settle(device)
        start = time.perf_counter()
        for _ in range(inner):
            run()
        settle(device)
        taken.append((time.perf_counter() - start) / inner)
    return taken


def percentile(values: Sequence[float], percent: float) -> float:
    """The smallest value that `percent` of them do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))]
