"""How CUDA graphs are captured."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor


class Graph(Protocol):
    """Launches that were captured; torch.cuda.CUDAGraph is one."""

    def replay(self) -> None:
        """Launches all of them again, over the same tensors."""


Capture = Callable[[Callable[[], Tensor]], tuple[Graph, Tensor]]
"""The launches of a computation, and the tensor that they write whenever they are replayed."""


class Capturing:
    """A Capture, whose graphs all compute in the same memory, one at a time."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._pool = torch.cuda.graph_pool_handle()

    def __call__(self, compute: Callable[[], Tensor]) -> tuple[Graph, Tensor]:
        stream = torch.cuda.Stream(self._device)  # type: ignore[no-untyped-call]
        stream.wait_stream(torch.cuda.current_stream(self._device))
        with torch.cuda.stream(stream):
            # What is compiled or set up at the first call must not be captured.
            compute()
        torch.cuda.current_stream(self._device).wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        try:
            # The threads that decode pictures go on; only this one's work is captured.
            with torch.cuda.graph(graph, pool=self._pool, stream=stream, capture_error_mode="thread_local"):
                output = compute()
        except Exception:
            torch.cuda.synchronize(self._device)
            raise
        return graph, output
