"""A video file among the media of a request: which of its frames are shown, and their pixels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from PIL import Image

from .decoding import Remembered, check_frame, geometry_of
from .extracted import named
from .extraction.extractor import Extractor, Rgb
from .geometry import Geometry
from .media import Picture, PictureWarning, padded_picture, padded_size
from .media_items import Item, OpenMedium
from .media_keys import extracted_key, file_digest
from .media_tokens import check_cap
from .pixels import Pixels, resize, to_tensor, video_frame_size, video_pixels
from .preprocessing import Preprocessing
from .prompt import VideoTokens
from .protocol import CountedVideo, Frame, VideoFileMedia
from .video_sampling import FrameSampling, frame_seconds

NAME = "the video"


def frame_name(frame: int) -> str:
    return f"frame {frame + 1} of the video"


def open_video_file(
    medium: VideoFileMedia,
    data: Frame,
    index: int,
    numbers: Preprocessing,
    sampling: FrameSampling,
    extractor: Extractor,
) -> OpenMedium:
    """
    Medium `index` of a request, which is the one file of `extractor`. Raises VIDEO_UNREADABLE or
    IMAGE_TOO_LARGE.
    """
    with named(NAME, "VIDEO_UNREADABLE", index):
        video = extractor.open_video(0)
    check_cap(medium.cap, video.width, video.height, index, NAME)
    indices = sampling.asked(medium.fps, medium.max_frames).indices(video.frames, video.fps)
    capped = numbers.capped(medium.cap, len(indices))
    width, height = padded_size(video.width, video.height, numbers.factor)
    size = video_frame_size(len(indices), height, width, capped)
    step = numbers.temporal_patch_size
    seconds = frame_seconds(indices, video.fps, step)
    tokens = VideoTokens(size[0] * size[1] // numbers.factor**2, seconds)
    digest = file_digest(data)
    patches = [indices[start : start + step] for start in range(0, len(indices), step)]
    keys = tuple(extracted_key("video", digest, size, patch) for patch in patches)
    taker = _Taker(extractor, index, indices, size, capped)
    counted = CountedVideo(
        tokens=tokens.per_patch * len(seconds),
        frames=len(indices),
        duration_ms=1000 * video.frames / video.fps,
    )
    return OpenMedium([Item(tokens, keys, frame_name, taker.decode)], counted)


@dataclass(frozen=True, slots=True)
class _Taker:
    """Takes frames out of the file; only one is in memory at its full size."""

    extractor: Extractor
    index: int
    indices: Sequence[int]
    size: tuple[int, int]
    numbers: Preprocessing

    def decode(self) -> tuple[Pixels, Remembered]:
        geometry: Geometry | None = None
        resized: dict[int, torch.Tensor] = {}
        warnings: dict[str, PictureWarning] = {}
        unique = list(dict.fromkeys(self.indices))
        with named(NAME, "VIDEO_UNREADABLE", self.index):
            for number, frame in zip(unique, self.extractor.frames(0, unique), strict=True):
                picture = self._picture(frame, number)
                geometry = geometry or geometry_of(picture)
                check_frame(picture, geometry, self.index, number)
                for warning in picture.warnings:
                    warnings.setdefault(warning.code, replace(warning, frame=number))
                resized[number] = resize(to_tensor(picture.image), *self.size)
        assert geometry is not None  # Every video has a frame that is shown.
        pixels = video_pixels([resized[number] for number in self.indices], self.numbers)
        return pixels, Remembered(pixels.grid[1:], geometry, tuple(warnings.values()))

    def _picture(self, frame: Rgb, number: int) -> Picture:
        return padded_picture(Image.fromarray(frame), self.index, self.numbers.factor, frame_name(number))
