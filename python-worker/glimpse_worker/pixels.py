"""
Pictures → the patch tensors of Glm4v, as transformers' torchvision-backed processors make them, without
torchvision.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image

from .preprocessing import Preprocessing, smart_resize


@dataclass(frozen=True, slots=True)
class Pixels:
    """
    One picture or one video, ready for the vision tower.

    `patches` is float32, (t·h·w, channels · temporal_patch_size · patch_size²), in merge-block order;
    `grid` is (t, h, w) in patches.
    """

    patches: torch.Tensor
    grid: tuple[int, int, int]


def to_tensor(image: Image.Image) -> torch.Tensor:
    """An RGB picture as uint8 (3, height, width)."""
    return torch.from_numpy(np.array(image)).permute(2, 0, 1).contiguous()


def resize(picture: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """
    torchvision's antialiased bicubic resize of a uint8 (3, height, width) tensor.

    On a CPU torch resizes uint8 natively. It does not on a GPU, where torchvision goes through float32,
    clamps and rounds.
    """
    if picture.shape[-2:] == (height, width):
        return picture
    native = picture.device.type == "cpu"
    batch = picture[None] if native else picture[None].to(torch.float32)
    resized = torch.nn.functional.interpolate(
        batch, size=[height, width], mode="bicubic", align_corners=False, antialias=True
    )[0]
    return resized if native else resized.clamp_(0, 255).round_().to(torch.uint8)


def image_pixels(picture: torch.Tensor, numbers: Preprocessing) -> Pixels:
    """
    The patches of one picture, uint8 (3, height, width); the single frame is repeated to fill a temporal
    patch.
    """
    frames = numbers.temporal_patch_size
    height, width = smart_resize(frames, picture.shape[-2], picture.shape[-1], numbers)
    resized = _normalise(resize(picture, height, width), numbers)
    return _patchify(resized[None].expand(frames, -1, -1, -1), numbers)


def video_frame_size(count: int, height: int, width: int, numbers: Preprocessing) -> tuple[int, int]:
    """Height and width of every frame of a video of `count` frames, as the model sees it."""
    # transformers takes no video of one frame; ours counts as the two it is padded to.
    return smart_resize(max(count, numbers.temporal_patch_size), height, width, numbers)


def video_pixels(frames: Sequence[torch.Tensor], numbers: Preprocessing) -> Pixels:
    """
    The patches of frames that have `video_frame_size` already; the last is repeated to fill a temporal
    patch.
    """
    missing = -len(frames) % numbers.temporal_patch_size
    return _patchify(_normalise(torch.stack([*frames, *[frames[-1]] * missing]), numbers), numbers)


def _normalise(pictures: torch.Tensor, numbers: Preprocessing) -> torch.Tensor:
    """Rescale and normalise in one step, in the order of operations that transformers uses."""
    mean = torch.tensor(numbers.image_mean, device=pictures.device) * 255.0
    std = torch.tensor(numbers.image_std, device=pictures.device) * 255.0
    return pictures.to(torch.float32).sub_(mean.view(-1, 1, 1)).div_(std.view(-1, 1, 1))


def _patchify(frames: torch.Tensor, numbers: Preprocessing) -> Pixels:
    """(frames, channels, height, width) → patches; neighbours that merge into one token stand together."""
    count, channels, height, width = frames.shape
    temporal, patch, merge = numbers.temporal_patch_size, numbers.patch_size, numbers.merge_size
    t, h, w = count // temporal, height // patch, width // patch
    blocks = frames.reshape(t, temporal, channels, h // merge, merge, patch, w // merge, merge, patch)
    patches = blocks.permute(0, 3, 6, 4, 7, 2, 1, 5, 8)
    return Pixels(patches.reshape(t * h * w, channels * temporal * patch * patch), (t, h, w))
