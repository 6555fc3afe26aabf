"""What the model sees of a picture or of frames: by the worker's own size rule and resize."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from glimpse_worker.pixels import image_size, resize, to_tensor, video_frame_size
from glimpse_worker.preprocessing import read_preprocessing
from glimpse_worker.prompt import video_seconds

from .conversation import Clip, Picture

if TYPE_CHECKING:
    from .conversation import Pixels

CHECKPOINT = Path(__file__).parents[1] / "embedded"
PICTURES, VIDEOS = read_preprocessing(CHECKPOINT)
CELL = PICTURES.factor
"""Pixels on a side of one merged visual token."""

MOST_CELLS = PICTURES.max_pixels // PICTURES.temporal_patch_size // CELL**2
"""Merged tokens of the largest picture."""


def seen_size(width: int, height: int) -> tuple[int, int]:
    """Width and height of a picture of this size after the processor's resize."""
    seen_height, seen_width = image_size(height, width, PICTURES)
    return seen_width, seen_height


def seen_frame_size(count: int, width: int, height: int) -> tuple[int, int]:
    """The same of each of `count` frames."""
    seen_height, seen_width = video_frame_size(count, height, width, VIDEOS)
    return seen_width, seen_height


def picture(original: Image.Image, characters: Pixels | None = None) -> Picture:
    width, height = seen_size(original.width, original.height)
    return Picture(original, _resized(original, width, height), characters)


def clip(originals: Sequence[Image.Image], fps: float) -> Clip:
    """Frames of one size, at least one; the last one is repeated where their number is odd."""
    first = originals[0]
    width, height = seen_frame_size(len(originals), first.width, first.height)
    frames = [_resized(frame, width, height) for frame in originals]
    frames += frames[-1:] * (len(frames) % VIDEOS.temporal_patch_size)
    seconds = video_seconds(len(originals), fps, VIDEOS.temporal_patch_size)
    return Clip(tuple(originals), fps, np.stack(frames), seconds)


def _resized(image: Image.Image, width: int, height: int) -> Pixels:
    if image.size == (width, height):
        return np.asarray(image)
    seen: Pixels = resize(to_tensor(image), height, width).permute(1, 2, 0).numpy()
    return seen
