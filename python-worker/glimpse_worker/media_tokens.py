"""How many tokens a medium becomes, from its header: nothing is decoded."""

from __future__ import annotations

import io
from collections.abc import Sequence

from PIL import Image

from .checkpoint import Checkpoint
from .media import FORMATS, padded_size, read_picture
from .pixels import video_frame_size
from .preprocessing import smart_resize
from .prompt import ImageTokens, MediumTokens, VideoTokens, video_seconds
from .protocol import Frame, ImageMedia, VideoMedia


def count_tokens(
    medium: ImageMedia | VideoMedia, frames: Sequence[Frame], index: int, checkpoint: Checkpoint
) -> MediumTokens:
    """
    The tokens of medium `index`, whose encoded picture or frames `frames` are. A video's first frame speaks
    for all. Raises IMAGE_UNREADABLE or IMAGE_TOO_LARGE for a header that does not tell the size.
    """
    if isinstance(medium, ImageMedia):
        numbers = checkpoint.image
        width, height = _canvas(frames[0], index, numbers.factor, f"picture {index + 1}")
        height, width = smart_resize(numbers.temporal_patch_size, height, width, numbers)
        return ImageTokens(height * width // numbers.factor**2)
    numbers = checkpoint.video
    width, height = _canvas(frames[0], index, numbers.factor, "frame 1 of the video")
    height, width = video_frame_size(len(frames), height, width, numbers)
    seconds = video_seconds(len(frames), medium.fps, numbers.temporal_patch_size)
    return VideoTokens(height * width // numbers.factor**2, seconds)


def _canvas(frame: Frame, index: int, factor: int, name: str) -> tuple[int, int]:
    """Width and height of what will be resized. EXIF may still swap them, which changes no count."""
    try:
        with Image.open(io.BytesIO(frame), formats=FORMATS) as header:
            return padded_size(*header.size, factor)
    except Exception:
        # It has the words for what is wrong.
        return read_picture(frame, index, factor, name).image.size
