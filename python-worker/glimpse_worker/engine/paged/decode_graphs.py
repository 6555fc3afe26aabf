"""
Decoding in CUDA graphs. A graph is for one batch size; smaller batches fill it up with rows that belong to
nobody.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ...device import to_device
from .batch import Decoded, Inputs
from .capturing import Capture, Graph

LADDER = (1, 2, 4, 8, 16, 24, 32, 48, 64, 96, 128, 160, 192, 224, 256)
"""Batch sizes; between two of them, a quarter of the rows at most is wasted from 16 on."""

ComputeDecoded = Callable[[Inputs], Tensor]
"""The decoder's output of a decode batch."""
ComputeAfter = Callable[[Tensor], object]
"""What follows that output, without a graph."""


@dataclass(frozen=True, slots=True)
class _Captured:
    graph: Graph
    inputs: Inputs
    output: Tensor


class DecodeGraphs:
    """Graphs by batch size, the smallest first."""

    def __init__(
        self, device: torch.device, *, nobody: int, max_pages: int, sizes: tuple[int, ...] = LADDER
    ) -> None:
        """`nobody` is the slot of rows that fill up a batch, `max_pages` how many a sequence can have."""
        self.sizes = sizes
        self._device = device
        self._nobodys = np.array([[0], [-1], [0], [nobody]], dtype=np.int32)
        """Nothing is stored for such a row, and it attends to nothing."""
        self._max_pages = max_pages
        self._captured: list[_Captured] = []

    def capture(self, size: int, compute: ComputeDecoded, after: ComputeAfter, capture: Capture) -> None:
        """Sizes have to come in order. What comes `after` is done once too: it may have to be compiled."""
        table = torch.zeros(size, self._max_pages, dtype=torch.int32, device=self._device)
        inputs = Inputs(to_device(self._nobodys.repeat(size, axis=1), self._device), table)
        graph, output = capture(lambda: compute(inputs))
        after(output)
        self._captured.append(_Captured(graph, inputs, output))

    def run(self, decoded: Decoded) -> Tensor | None:
        """
        The decoder's output of a batch, that of nobody's rows after the others, until another graph runs;
        None without a graph.
        """
        count = decoded.integers.shape[1]
        captured = next((graph for graph in self._captured if len(graph.output) >= count), None)
        if captured is None:
            return None
        integers = self._nobodys.repeat(len(captured.output), axis=1)
        integers[:, :count] = decoded.integers
        captured.inputs.integers.copy_(to_device(integers, self._device))
        width = decoded.table.shape[1]
        captured.inputs.table[:count, :width] = to_device(decoded.table, self._device)
        captured.graph.replay()
        return captured.output
