"""How large a medium is for the model and how many tokens it becomes, from its header: nothing is decoded."""

from __future__ import annotations

import io
from collections.abc import Sequence

from PIL import Image

from .media import FORMATS, MediaKind, padded_size, picture_name, read_picture
from .pixels import image_size, video_frame_size
from .preprocessing import Preprocessing
from .prompt import ImageTokens, MediumTokens, VideoTokens, video_seconds
from .protocol import Frame, ImageMedia, VideoMedia


def header_size(
    kind: MediaKind, frames: Sequence[Frame], index: int, numbers: Preprocessing
) -> tuple[int, int]:
    """
    Height and width to which medium `index` is resized, whose encoded picture or frames `frames` are; EXIF
    orientation may yet swap them. A video's first frame speaks for all.

    Raises IMAGE_UNREADABLE or IMAGE_TOO_LARGE for a header that does not tell the size.
    """
    width, height = _canvas(frames[0], index, numbers.factor, picture_name(kind, index))
    if kind == "image":
        return image_size(height, width, numbers)
    return video_frame_size(len(frames), height, width, numbers)


def count_tokens(
    medium: ImageMedia | VideoMedia, size: tuple[int, int], numbers: Preprocessing
) -> MediumTokens:
    """The tokens of a medium whose pictures are resized to `size`; which side is which changes no count."""
    height, width = size
    count = height * width // numbers.factor**2
    if isinstance(medium, ImageMedia):
        return ImageTokens(count)
    return VideoTokens(count, video_seconds(len(medium.bytes), medium.fps, numbers.temporal_patch_size))


def _canvas(frame: Frame, index: int, factor: int, name: str) -> tuple[int, int]:
    """Width and height of what will be resized."""
    try:
        with Image.open(io.BytesIO(frame), formats=FORMATS) as header:
            return padded_size(*header.size, factor)
    except Exception:
        # It has the words for what is wrong.
        return read_picture(frame, index, factor, name).image.size
