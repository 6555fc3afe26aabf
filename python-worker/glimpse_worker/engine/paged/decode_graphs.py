"""
Decoding in CUDA graphs. A graph is for one batch size and for what its rows ask of the sampler; smaller
batches fill it up with rows that belong to nobody.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from ...bitmask import Bitmask, words
from ...device import to_device
from .batch import Decoded, Inputs, Sampled
from .capturing import Capture, Graph

LADDER = (1, 2, 4, 8, 16, 24, 32, 48, 64, 96, 128, 160, 192, 224, 256)
"""Batch sizes; between two of them, a quarter of the rows at most is wasted from 16 on."""

ComputeDecoded = Callable[[Inputs, bool, Tensor | None], Tensor]
"""
The tokens of a decode batch; whether any row has a repetition penalty, which costs the sampler twice the
launches; which ids each row may choose, as Sampler.choose takes them.
"""


@dataclass(frozen=True, slots=True)
class Variant:
    """Whether any row of a batch has a repetition penalty, and whether any has ids that it may not choose."""

    penalised: bool = False
    masked: bool = False


PLAIN = Variant()


@dataclass(frozen=True, slots=True)
class _Captured:
    graph: Graph
    variant: Variant
    inputs: Inputs
    allowed: Tensor | None
    tokens: Tensor

    def takes(self, count: int, variant: Variant) -> bool:
        return len(self.tokens) >= count and self.variant == variant


class DecodeGraphs:
    """Graphs by batch size, the smallest first."""

    def __init__(
        self,
        device: torch.device,
        *,
        nobody: int,
        max_pages: int,
        vocabulary: int,
        sizes: tuple[int, ...] = LADDER,
    ) -> None:
        """`nobody` is the slot of rows that fill up a batch, `max_pages` how many a sequence can have."""
        self.sizes = sizes
        self._words = words(vocabulary)
        self._device = device
        self._nobody = nobody
        self._max_pages = max_pages
        self._captured: list[_Captured] = []

    def capture(self, size: int, variant: Variant, compute: ComputeDecoded, capture: Capture) -> None:
        """Sizes of a variant have to come in order."""
        inputs = self._nobodys(size)
        allowed = None
        if variant.masked:
            allowed = torch.full((size, self._words), -1, dtype=torch.int32, device=self._device)
        graph, tokens = capture(lambda: compute(inputs, variant.penalised, allowed))
        self._captured.append(_Captured(graph, variant, inputs, allowed, tokens))

    def run(self, decoded: Decoded, sampled: Sampled, allowed: Bitmask | None) -> Tensor | None:
        """The tokens of a batch, int64, those of nobody's rows after the others; None without a graph."""
        count = decoded.integers.shape[1]
        variant = Variant(sampled.penalised, allowed is not None)
        captured = next((graph for graph in self._captured if graph.takes(count, variant)), None)
        if captured is None:
            return None
        self._fill(captured.inputs, decoded, sampled, count)
        if captured.allowed is not None and allowed is not None:
            captured.allowed[:count] = to_device(allowed, self._device)
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
