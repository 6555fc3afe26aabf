"""
Decoding in CUDA graphs: the few hundred launches of a decode step become one. A graph is for one batch size,
with or without repetition penalties, which cost the sampler twice the launches; smaller batches fill it up
with rows that belong to nobody.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from ...device import to_device
from .batch import Decoded, Inputs, Sampled

logger = logging.getLogger(__name__)

LADDER = (1, 2, 4, 8, 16, 24, 32, 48, 64, 96, 128, 160, 192, 224, 256)
"""Batch sizes; between two of them, a quarter of the rows at most is wasted from 16 on."""

Compute = Callable[[Inputs, bool], Tensor]
"""The tokens of a decode batch; the second says whether any row has a repetition penalty."""


@dataclass(frozen=True, slots=True)
class _Captured:
    graph: torch.cuda.CUDAGraph
    inputs: Inputs
    penalised: bool
    tokens: Tensor

    def takes(self, count: int, penalised: bool) -> bool:
        return len(self.tokens) >= count and self.penalised == penalised


class DecodeGraphs:
    """Graphs by batch size, captured one by one while the engine serves without them."""

    def __init__(
        self,
        device: torch.device,
        *,
        nobody: int,
        max_pages: int,
        sizes: tuple[int, ...] = LADDER,
        report: Callable[[int, int], None],
    ) -> None:
        """
        `nobody` is the slot of rows that fill up a batch, `max_pages` how many a sequence can have. `report`
        is told how many of the graphs there are.
        """
        self._device = device
        self._nobody = nobody
        self._max_pages = max_pages
        self._to_capture = [(size, penalised) for penalised in (False, True) for size in sizes]
        self._total = len(self._to_capture)
        self._report = report
        self._captured: list[_Captured] = []
        self._pool = torch.cuda.graph_pool_handle()

    def capture_next(self, compute: Compute) -> bool:
        """
        Captures one more; False when there is none left. When that fails, it is logged, and decoding
        stays as it is.
        """
        if not self._to_capture:
            return False
        size, penalised = self._to_capture.pop(0)
        try:
            self._captured.append(self._capture(size, penalised, compute))
        except Exception as error:
            self._to_capture.clear()
            logger.warning(
                "no CUDA graph for %d rows could be captured, larger batches are decoded without: %s: %s",
                size,
                type(error).__name__,
                error,
            )
            torch.cuda.synchronize(self._device)
            return False
        self._report(len(self._captured), self._total)
        return bool(self._to_capture)

    def run(self, decoded: Decoded, sampled: Sampled) -> Tensor | None:
        """The tokens of a batch, int64, those of nobody's rows after the others; None without a graph."""
        count = decoded.integers.shape[1]
        captured = next((graph for graph in self._captured if graph.takes(count, sampled.penalised)), None)
        if captured is None:
            return None
        self._fill(captured.inputs, decoded, sampled, count)
        captured.graph.replay()
        return captured.tokens

    def _capture(self, size: int, penalised: bool, compute: Compute) -> _Captured:
        inputs = self._nobodys(size)
        stream = torch.cuda.Stream(self._device)  # type: ignore[no-untyped-call]
        stream.wait_stream(torch.cuda.current_stream(self._device))
        with torch.cuda.stream(stream):
            # What is compiled or set up at the first call must not be captured.
            compute(inputs, penalised)
        torch.cuda.current_stream(self._device).wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        # The threads that decode pictures go on; only this one's work is captured.
        with torch.cuda.graph(graph, pool=self._pool, stream=stream, capture_error_mode="thread_local"):
            tokens = compute(inputs, penalised)
        return _Captured(graph, inputs, penalised, tokens)

    def _nobodys(self, size: int) -> Inputs:
        """A batch of rows that nobody asked for: nothing is stored for them, and they attend to nothing."""
        decoded = torch.zeros(3, size, dtype=torch.int32, device=self._device)
        decoded[1] = -1
        sampled = torch.zeros(2, size, dtype=torch.int32, device=self._device)
        sampled[0] = self._nobody
        floats = torch.zeros(4, size, dtype=torch.float32, device=self._device)
        floats[1:3] = 1
        table = torch.zeros(size, self._max_pages, dtype=torch.int32, device=self._device)
        return Inputs(decoded, sampled, floats, table)

    def _fill(self, inputs: Inputs, decoded: Decoded, sampled: Sampled, count: int) -> None:
        inputs.decoded[1, count:] = -1
        inputs.decoded[2, count:] = 0
        inputs.sampled[0, count:] = self._nobody
        inputs.floats[0, count:] = 0
        inputs.decoded[:, :count] = to_device(decoded.integers, self._device)
        inputs.sampled[:, :count] = to_device(sampled.integers, self._device)
        inputs.floats[:, :count] = to_device(sampled.floats, self._device)
        width = decoded.table.shape[1]
        inputs.table[:count, :width] = to_device(decoded.table, self._device)
