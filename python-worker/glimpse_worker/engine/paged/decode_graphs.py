"""
Decoding in CUDA graphs. A graph is for one batch size, with or without repetition penalties, which cost the
sampler twice the launches; smaller batches fill it up with rows that belong to nobody.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from ...device import to_device
from .batch import Decoded, Inputs, Sampled
from .capturing import Capture, Graph

LADDER = (1, 2, 4, 8, 16, 24, 32, 48, 64, 96, 128, 160, 192, 224, 256)
"""Batch sizes; between two of them, a quarter of the rows at most is wasted from 16 on."""

ComputeDecoded = Callable[[Inputs, bool], Tensor]
"""The tokens of a decode batch; the second says whether any row has a repetition penalty."""


@dataclass(frozen=True, slots=True)
class _Captured:
    graph: Graph
    inputs: Inputs
    penalised: bool
    tokens: Tensor

    def takes(self, count: int, penalised: bool) -> bool:
        return len(self.tokens) >= count and self.penalised == penalised


class DecodeGraphs:
    """Graphs by batch size, the smallest first."""

    def __init__(
        self, device: torch.device, *, nobody: int, max_pages: int, sizes: tuple[int, ...] = LADDER
    ) -> None:
        """`nobody` is the slot of rows that fill up a batch, `max_pages` how many a sequence can have."""
        self.sizes = sizes
        self._device = device
        self._nobody = nobody
        self._max_pages = max_pages
        self._captured: list[_Captured] = []

    def capture(self, size: int, penalised: bool, compute: ComputeDecoded, capture: Capture) -> None:
        """Sizes have to come in order."""
        inputs = self._nobodys(size)
        graph, tokens = capture(lambda: compute(inputs, penalised))
        self._captured.append(_Captured(graph, inputs, penalised, tokens))

    def run(self, decoded: Decoded, sampled: Sampled) -> Tensor | None:
        """The tokens of a batch, int64, those of nobody's rows after the others; None without a graph."""
        count = decoded.integers.shape[1]
        captured = next((graph for graph in self._captured if graph.takes(count, sampled.penalised)), None)
        if captured is None:
            return None
        self._fill(captured.inputs, decoded, sampled, count)
        captured.graph.replay()
        return captured.tokens

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
