"""How long short things take on the device, without what it costs to launch them from the host."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence

import torch

Call = Callable[[], object]

WINDOW_S = 0.005
"""Replays of one measurement: long beside what it takes the first of them to start."""
REPETITIONS = 5


def seconds_each(calls: Sequence[Call], device: torch.device) -> list[float]:
    """
    How long one of `calls` takes when all of them run one after another, on average, several times measured.

    On a GPU they are one CUDA graph, as in the engine. On a CPU the first runs once, which only shows that it
    does.
    """
    if device.type == "cpu":
        start = time.perf_counter()
        calls[0]()
        return [time.perf_counter() - start]
    graph = _capture(calls, device)
    replays = math.ceil(WINDOW_S / _replay(graph, 1))
    return [_replay(graph, replays) / len(calls) for _ in range(REPETITIONS)]


def _capture(calls: Sequence[Call], device: torch.device) -> torch.cuda.CUDAGraph:
    stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
    stream.wait_stream(torch.cuda.current_stream(device))
    with torch.cuda.stream(stream):
        # What is compiled or set up at the first call must not be captured.
        for call in calls:
            call()
    torch.cuda.current_stream(device).wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, stream=stream):
        for call in calls:
            call()
    graph.replay()
    torch.cuda.synchronize(device)
    return graph


def _replay(graph: torch.cuda.CUDAGraph, times: int) -> float:
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
    start.record()
    for _ in range(times):
        graph.replay()
    end.record()
    end.synchronize()
    return float(start.elapsed_time(end)) / 1000 / times
