"""
The fewest bytes and operations of the model's parts, from the sizes of its own weights.

Counted are: every weight read once per launch, the keys and values of every token attended to, and two
operations for each weight and token; attention's products. Not counted are norms, activations and logits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from transformers import Glm4vForConditionalGeneration

from .ceilings import Ceilings


@dataclass(frozen=True, slots=True)
class Work:
    bytes: float
    operations: float

    def seconds(self, ceilings: Ceilings) -> float:
        """The longer of the two: no version is faster."""
        return max(self.bytes / ceilings.read, self.operations / ceilings.multiply)


class Roofline:
    def __init__(self, config: Any, dtype: torch.dtype) -> None:
        with torch.device("meta"):
            model: Any = Glm4vForConditionalGeneration(config)
        text, vision = config.text_config, model.model.visual
        self._itemsize = dtype.itemsize
        self._layers = _numbers(model.model.language_model.layers)
        self._head = _numbers(model.lm_head)
        self._per_patch = _numbers(vision.patch_embed, vision.blocks)
        self._per_image_token = _numbers(vision.downsample, vision.merger)
        self._attention = text.num_hidden_layers * text.hidden_size
        self._vision_attention = config.vision_config.depth * config.vision_config.hidden_size
        self._merged = config.vision_config.spatial_merge_size**2
        head_dim = text.hidden_size // text.num_attention_heads
        self.kv_bytes = 2 * text.num_hidden_layers * text.num_key_value_heads * head_dim * self._itemsize
        """Of one token."""

    def decode(self, streams: int, context: float) -> Work:
        """One step of `streams` rows with `context` tokens each, on average."""
        weights = self._layers + self._head
        return Work(
            weights * self._itemsize + streams * context * self.kv_bytes,
            streams * (2 * weights + 4 * context * self._attention),
        )

    def prefill(self, tokens: int, cached: int = 0) -> Work:
        """`tokens` of one prompt after `cached` ones, and the logits of the last."""
        seen = tokens * cached + tokens * tokens / 2
        return Work(
            (self._layers + self._head) * self._itemsize + (tokens + cached) * self.kv_bytes,
            2 * tokens * self._layers + 2 * self._head + 4 * seen * self._attention,
        )

    def vision(self, pictures: Sequence[tuple[int, int]]) -> Work:
        """Pictures of (height, width) patches, in one batch."""
        counts = [height * width for height, width in pictures]
        patches, tokens = sum(counts), sum(counts) / self._merged
        return Work(
            (self._per_patch + self._per_image_token) * self._itemsize,
            2 * patches * self._per_patch
            + 2 * tokens * self._per_image_token
            + 4 * sum(count**2 for count in counts) * self._vision_attention,
        )


def _numbers(*modules: Any) -> int:
    return sum(parameter.numel() for module in modules for parameter in module.parameters())
