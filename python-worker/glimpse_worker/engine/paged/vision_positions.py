"""Where the patches of a picture stand, as the vision tower of Glm4v is told."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import Glm4vVisionModel
from transformers.vision_utils import get_vision_position_ids

from ...device import to_device

MAX_PATCHES = 32_768
"""That the kept positions have together: 118 MB at the 9B shapes. The largest picture has 24,576."""


@dataclass(frozen=True, slots=True)
class Positions:
    """
    Of the n patches of one picture, in merge-block order. `embedding` (n, hidden) is in the model's dtype;
    `cos` and `sin`, float32 (n, head_dim / 2), are of the angles by which each half of a head turns.
    """

    embedding: Tensor
    cos: Tensor
    sin: Tensor


class VisionPositions:
    """Positions by the size of the picture. The least recently used sizes are forgotten."""

    def __init__(self, visual: Glm4vVisionModel) -> None:
        self._visual = visual
        self._known: OrderedDict[tuple[int, int], Positions] = OrderedDict()

    def of(self, height: int, width: int) -> Positions:
        """For a picture of `height` × `width` patches, exactly as transformers computes them."""
        size = (height, width)
        if size not in self._known:
            self._known[size] = self._compute(height, width)
        self._known.move_to_end(size)
        while len(self._known) > 1 and sum(h * w for h, w in self._known) > MAX_PATCHES:
            self._known.popitem(last=False)
        return self._known[size]

    def _compute(self, height: int, width: int) -> Positions:
        visual = self._visual
        table = visual.embeddings.position_embedding.weight
        count, device = height * width, table.device
        # Made on the host: transformers reads the grid back, for which the host would wait for a GPU.
        grid = torch.tensor([[1, height, width]])
        places = to_device(get_vision_position_ids(grid, visual.spatial_merge_size).numpy(), device)
        shape = to_device(grid.numpy(), device)
        length = torch.full((1,), count, device=device)
        # What is added to nothing is the embedding itself.
        nothing = table.new_zeros(count, table.shape[1])
        embedding = visual.embeddings(nothing, length, shape, places[:, 0], places[:, 1])
        cos, sin = visual.rotary_pos_emb(nothing, places)
        half = cos.shape[1] // 2
        return Positions(embedding, cos[:, :half].contiguous(), sin[:, :half].contiguous())
