"""How large a medium is for the model and how many tokens it becomes, from its header: nothing is decoded."""

from __future__ import annotations

import io
from collections.abc import Sequence

from PIL import Image

from .failure import WorkerFailure
from .media import FORMATS, MediaKind, padded_size, picture_name, read_picture
from .pixels import image_size, video_frame_size
from .preprocessing import Preprocessing
from .prompt import ImageTokens, MediumTokens, VideoTokens, video_seconds
from .protocol import Frame, ImageMedia, PixelCap, VideoMedia


def header_size(
    kind: MediaKind,
    frames: Sequence[Frame],
    index: int,
    numbers: Preprocessing,
    cap: PixelCap | None = None,
) -> tuple[int, int]:
    """
    Height and width to which medium `index` is resized, whose encoded picture or frames `frames` are; EXIF
    orientation may yet swap them. A video's first frame speaks for all.

    Raises IMAGE_UNREADABLE or IMAGE_TOO_LARGE for a header that does not tell the size, and IMAGE_TOO_LARGE
    for one that a `cap` refuses.
    """
    name = picture_name(kind, index)
    width, height = _header(frames[0], index, numbers.factor, name)
    check_cap(cap, width, height, index, name)
    width, height = padded_size(width, height, numbers.factor)
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


def check_cap(cap: PixelCap | None, width: int, height: int, media: int, name: str) -> None:
    """Refuses, as IMAGE_TOO_LARGE, what has more pixels than its caller wants to pay for."""
    if cap is None or cap.on_too_large == "downscale" or width * height <= cap.max_pixels:
        return
    raise WorkerFailure(
        "IMAGE_TOO_LARGE",
        f"{name} is {width} × {height} = {width * height} pixels; maxPixels allows {cap.max_pixels}",
        hint='Leave out onTooLarge: "refuse", and it is scaled down to maxPixels.',
        media=media,
    )


def _header(frame: Frame, index: int, factor: int, name: str) -> tuple[int, int]:
    """Width and height, before EXIF orientation."""
    try:
        with Image.open(io.BytesIO(frame), formats=FORMATS) as header:
            return header.size
    except Exception:
        # It has the words for what is wrong.
        picture = read_picture(frame, index, factor, name)
        return picture.width, picture.height
