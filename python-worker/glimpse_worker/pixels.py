"""
Pictures → what Glm4v sees of them, as transformers' torchvision-backed processors make it, but without
torchvision.

Pictures stay bytes until they are on the device: their patches are eight times as large.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from PIL import Image

from .preprocessing import Preprocessing, smart_resize


@dataclass(frozen=True, slots=True)
class Pixels:
    """
    One picture or one video, resized.

    `frames` is uint8, (t, frames, channels, height, width): the frames of each temporal patch, which are
    `temporal_patch_size`, or one that stands for all (a still picture).
    """

    frames: torch.Tensor
    patch_size: int

    @property
    def grid(self) -> tuple[int, int, int]:
        """Time, height and width in patches."""
        t, _, _, height, width = self.frames.shape
        return t, height // self.patch_size, width // self.patch_size


def to_tensor(image: Image.Image) -> torch.Tensor:
    """An RGB picture as uint8 (3, height, width), in memory channels last, which is quickest to resize."""
    return torch.from_numpy(np.array(image)).permute(2, 0, 1)


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


def image_size(height: int, width: int, numbers: Preprocessing) -> tuple[int, int]:
    """Height and width of a still picture, as the model sees it."""
    return smart_resize(numbers.temporal_patch_size, height, width, numbers)


def video_frame_size(count: int, height: int, width: int, numbers: Preprocessing) -> tuple[int, int]:
    """Height and width of every frame of a video of `count` frames, as the model sees it."""
    # transformers takes no video of one frame; ours counts as the two it is padded to.
    return smart_resize(max(count, numbers.temporal_patch_size), height, width, numbers)


def image_pixels(picture: torch.Tensor, numbers: Preprocessing) -> Pixels:
    """Resizes one picture, uint8 (3, height, width)."""
    size = image_size(picture.shape[-2], picture.shape[-1], numbers)
    return Pixels(resize(picture, *size)[None, None].contiguous(), numbers.patch_size)


def video_pixels(frames: Sequence[torch.Tensor], numbers: Preprocessing) -> Pixels:
    """Frames that have `video_frame_size` already; the last is repeated to fill a temporal patch."""
    missing = -len(frames) % numbers.temporal_patch_size
    stacked = torch.stack([*frames, *[frames[-1]] * missing])
    temporal_patches = stacked.view(-1, numbers.temporal_patch_size, *stacked.shape[1:])
    return Pixels(temporal_patches, numbers.patch_size)


def patches(frames: torch.Tensor, numbers: Preprocessing, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """
    Temporal patches as of `Pixels.frames` → (t·h·w, channels · temporal_patch_size · patch_size²), on the
    device of `frames`; neighbours that merge into one token stand together.

    Normalised in float32, as transformers does, and rounded to `dtype` after that.
    """
    t, _, channels, height, width = frames.shape
    temporal, patch, merge = numbers.temporal_patch_size, numbers.patch_size, numbers.merge_size
    h, w = height // patch, width // patch
    normalised = _normalise(frames, numbers).to(dtype).expand(-1, temporal, -1, -1, -1)
    blocks = normalised.reshape(t, temporal, channels, h // merge, merge, patch, w // merge, merge, patch)
    ordered = blocks.permute(0, 3, 6, 4, 7, 2, 1, 5, 8)
    return ordered.reshape(t * h * w, channels * temporal * patch * patch)


def _normalise(frames: torch.Tensor, numbers: Preprocessing) -> torch.Tensor:
    """Rescale and normalise in one step, in the order of operations that transformers uses."""
    mean, std = _mean_and_std(numbers, frames.device)
    return frames.to(torch.float32).sub_(mean).div_(std)


# Kept, because making them anew would let the host wait for the device each time.
@cache
def _mean_and_std(numbers: Preprocessing, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    with torch.inference_mode(False):
        mean = torch.tensor(numbers.image_mean, device=device) * 255.0
        std = torch.tensor(numbers.image_std, device=device) * 255.0
    return mean.view(-1, 1, 1), std.view(-1, 1, 1)
