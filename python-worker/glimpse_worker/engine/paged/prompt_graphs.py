"""
Short prompts in CUDA graphs. A prompt of a thousand tokens keeps a GPU busy longer than Python takes to
launch it; a shorter one does not, and most second questions are. A graph is for a number of tokens; fewer
fill it up with tokens that belong to nobody.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ...device import to_device
from .batch import Prompts
from .capturing import Capture, Graph
from .decoder import Attend
from .ops import Chunk, LayerCache

if TYPE_CHECKING:
    from .triton_ops import TritonOps

LADDER = (64, 128, 192, 256, 384, 512, 640, 768, 1024)
"""Tokens of all prompts of a step together; between two of them, half or less is wasted."""
ROWS = 8
"""How many prompts a graph has room for."""

ComputePrompt = Callable[[Tensor, Tensor, Tensor, Attend], Tensor]
"""The decoder's output of embeddings, positions and KV slots, as Decoder.forward."""


@dataclass(frozen=True, slots=True)
class _Captured:
    graph: Graph
    hidden: Tensor
    positions: Tensor
    slots: Tensor
    table: Tensor
    blocks: Tensor
    output: Tensor


class PromptGraphs:
    """Graphs by number of tokens, the smallest first."""

    def __init__(
        self,
        device: torch.device,
        ops: TritonOps,
        *,
        hidden_size: int,
        dtype: torch.dtype,
        max_pages: int,
        sizes: tuple[int, ...] = LADDER,
    ) -> None:
        """`max_pages` is how many a sequence can have."""
        self.sizes = sizes
        self._device = device
        self._ops = ops
        self._hidden_size = hidden_size
        self._dtype = dtype
        self._max_pages = max_pages
        self._captured: list[_Captured] = []

    def capture(self, size: int, compute: ComputePrompt, capture: Capture) -> None:
        """Sizes have to come in order."""
        hidden = torch.zeros(size, self._hidden_size, dtype=self._dtype, device=self._device)
        positions = torch.zeros(3, size, dtype=torch.int32, device=self._device)
        slots = torch.full((size,), -1, dtype=torch.int32, device=self._device)
        table = torch.zeros(ROWS, self._max_pages, dtype=torch.int32, device=self._device)
        # A prompt's last block need not be full, so there is one more for each of the prompts.
        most = len(self._ops.query_blocks([Chunk(first=0, count=size, start=0)])) + ROWS - 1
        blocks = torch.zeros(most, 4, dtype=torch.int32, device=self._device)

        def attend(q: Tensor, cache: LayerCache) -> Tensor:
            return self._ops.attend_blocks(q, cache, table, blocks)

        graph, output = capture(lambda: compute(hidden, positions, slots, attend))
        self._captured.append(_Captured(graph, hidden, positions, slots, table, blocks, output))

    def run(self, prompts: Prompts, hidden: Tensor) -> Tensor | None:
        """
        The decoder's output for the embeddings `hidden` of `prompts`, that of nobody's tokens after the
        others; None without a graph.
        """
        count, rows = len(hidden), len(prompts.table)
        captured = self._takes(count, rows)
        if captured is None:
            return None
        blocks = to_device(self._ops.query_blocks(prompts.chunks), self._device)
        captured.hidden[:count] = hidden
        captured.positions[:, :count] = to_device(prompts.positions, self._device)
        captured.slots[:count] = to_device(prompts.slots, self._device)
        captured.slots[count:] = -1
        captured.table[:rows, : prompts.table.shape[1]] = to_device(prompts.table, self._device)
        # A block without queries attends to nothing.
        captured.blocks[len(blocks) :] = 0
        captured.blocks[: len(blocks)] = blocks
        captured.graph.replay()
        return captured.output

    def _takes(self, count: int, rows: int) -> _Captured | None:
        if rows > ROWS:
            return None
        return next((graph for graph in self._captured if len(graph.hidden) >= count), None)
