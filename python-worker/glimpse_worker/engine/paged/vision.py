"""The vision tower of Glm4v over many pictures at once, from bytes to features."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby
from math import prod

import torch
from torch import Tensor
from torch.nn.functional import linear, scaled_dot_product_attention
from transformers import Glm4vVisionModel

from ...failure import WorkerFailure
from ...pixels import patches
from ...preprocessing import Preprocessing
from .ops import Ops
from .torch_ops import TorchOps
from .vision_positions import VisionPositions
from .vision_weights import Block, take_apart

Rotate = Callable[[Tensor, Tensor, Tensor, int], tuple[Tensor, Tensor]]


def rotate_half(qkv: Tensor, cos: Tensor, sin: Tensor, heads: int) -> tuple[Tensor, Tensor]:
    """
    Rotated queries and keys, each (n, heads, head_dim) and contiguous, of qkv (n, 3 * heads * head_dim):
    queries, keys, values.

    cos, sin float32 (n, head_dim / 2): of the angles by which numbers i and i + head_dim / 2 of a head turn.
    Computed in float32, as apply_rotary_pos_emb_vision of transformers' Glm4v.
    """
    halves = qkv.view(len(qkv), 3, heads, 2, -1)[:, :2].transpose(0, 1).float()
    first, second = halves.unbind(-2)
    cos, sin = cos[:, None], sin[:, None]
    turned = torch.cat((first * cos - second * sin, second * cos + first * sin), dim=-1).to(qkv.dtype)
    return turned[0], turned[1]


@dataclass(frozen=True, slots=True)
class _Segment:
    """`count` items of `height` × `width` patches, one after another in the packed batch."""

    rows: slice
    count: int
    height: int
    width: int


class VisionTower:
    """
    What Glm4vVisionModel computes, without its loop over the pictures. The model's weights are shared, see
    `take_apart`.
    """

    def __init__(self, visual: Glm4vVisionModel, numbers: Preprocessing, ops: Ops) -> None:
        config = visual.config
        if config.hidden_act != "silu":
            raise WorkerFailure(
                "MODEL_UNSUPPORTED",
                f"config.json: expected vision_config.hidden_act 'silu', got {config.hidden_act!r}",
                hint="The engine 'reference' runs what transformers can run.",
            )
        self._numbers = numbers
        self._ops = ops
        self._rotate = _rotation(ops)
        self._heads = int(config.num_heads)
        self._eps = float(config.rms_norm_eps)
        self._positions = VisionPositions(visual)
        self._weights = take_apart(visual)

    def encode(self, items: Sequence[Tensor]) -> list[Tensor]:
        """
        The features of temporal patches as in `Pixels.frames`, uint8 (frames, 3, height, width) on the CPU:
        of each (height * width / factor², out_hidden_size), in the dtype and on the device of the model.

        They are those of Glm4vVisionModel; what else is in `items` changes them by rounding at most. All
        results of a call are views of one tensor.
        """
        if not items:
            return []
        order = sorted(range(len(items)), key=lambda index: (*items[index].shape[2:], len(items[index])))
        ordered = [items[index] for index in order]
        segments = self._segments(ordered)
        weights, ops = self._weights, self._ops
        x = ops.rms_norm(self._embed(ordered), weights.post_conv_norm, self._eps)
        cos, sin = self._place(x, segments)
        for block in weights.blocks:
            self._run(block, x, cos, sin, segments)
        x = ops.rms_norm(x, weights.post_norm, self._eps)
        merged = linear(x.view(-1, weights.downsample.weight.shape[1]), *weights.downsample)
        counts = [item.shape[2] * item.shape[3] // self._numbers.factor**2 for item in ordered]
        features = dict(zip(order, weights.merger(merged).split(counts), strict=True))
        return [features[index] for index in range(len(items))]

    def _segments(self, items: Sequence[Tensor]) -> list[_Segment]:
        patch = self._numbers.patch_size
        segments: list[_Segment] = []
        start = 0
        for (height, width), group in groupby(items, key=lambda item: tuple(item.shape[2:])):
            h, w, count = height // patch, width // patch, len(list(group))
            end = start + count * h * w
            segments.append(_Segment(slice(start, end), count, h, w))
            start = end
        return segments

    def _embed(self, items: Sequence[Tensor]) -> Tensor:
        """The embeddings of all patches: (patches, hidden)."""
        weight, bias = self._weights.patch_embed
        flat = _upload(items, weight.device)
        made: list[Tensor] = []
        start = 0
        for shape, group in groupby(items, key=lambda item: tuple(item.shape)):
            count = len(list(group))
            end = start + count * prod(shape)
            made.append(patches(flat[start:end].view(count, *shape), self._numbers, weight.dtype))
            start = end
        return linear(torch.cat(made), weight, bias)

    def _place(self, x: Tensor, segments: Sequence[_Segment]) -> tuple[Tensor, Tensor]:
        """Adds to every patch the embedding of its position; gives cos and sin of its angles."""
        cosines, sines = [], []
        for segment in segments:
            positions = self._positions.of(segment.height, segment.width)
            x[segment.rows].view(segment.count, *positions.embedding.shape).add_(positions.embedding)
            cosines += [positions.cos] * segment.count
            sines += [positions.sin] * segment.count
        return torch.cat(cosines), torch.cat(sines)

    def _run(self, block: Block, x: Tensor, cos: Tensor, sin: Tensor, segments: Sequence[_Segment]) -> None:
        """One block, in place on the residual stream `x`."""
        qkv = linear(self._ops.rms_norm(x, block.norm1, self._eps), *block.qkv)
        q, k = self._rotate(qkv, cos, sin, self._heads)
        v = qkv.view(len(qkv), 3, *q.shape[1:])[:, 2]
        x.addmm_(_attend(q, k, v, segments), block.output)
        y = self._ops.rms_norm(x, block.norm2, self._eps)
        x.addmm_(self._ops.silu_mul(linear(y, block.gate_up)), block.down)


def _attend(q: Tensor, k: Tensor, v: Tensor, segments: Sequence[_Segment]) -> Tensor:
    """Every patch attends to those of its own item: (n, heads, head_dim) each → (n, heads * head_dim)."""
    _, heads, head_dim = q.shape
    attended: list[Tensor] = []
    for segment in segments:
        shape = (segment.count, -1, heads, head_dim)
        query, key, value = (x[segment.rows].view(shape).transpose(1, 2) for x in (q, k, v))
        output = scaled_dot_product_attention(query, key, value)
        attended.append(output.transpose(1, 2).reshape(-1, heads * head_dim))
    return attended[0] if len(attended) == 1 else torch.cat(attended)


def _upload(items: Sequence[Tensor], device: torch.device) -> Tensor:
    """All bytes of `items`, one after another. A GPU copies when it gets there; the host goes on at once."""
    total = sum(item.numel() for item in items)
    host = torch.empty(total, dtype=torch.uint8, pin_memory=device.type == "cuda")
    torch.cat([item.flatten() for item in items], out=host)
    return host.to(device, non_blocking=True)


def _rotation(ops: Ops) -> Rotate:
    """That of the same kind as `ops`: where one cannot have Triton, the other cannot."""
    if isinstance(ops, TorchOps):
        return rotate_half
    from .kernels import vision

    return vision.rotate_half
