"""The encoded pictures of a medium → its pixels, and what else only decoding tells."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

from .cancelling import Cancelled, IsCancelled
from .failure import WorkerFailure
from .geometry import Geometry
from .media import MediaKind, Picture, PictureWarning, picture_name, read_picture
from .pixels import Pixels, image_pixels, resize, to_tensor, video_frame_size, video_pixels
from .preprocessing import Preprocessing
from .protocol import Frame


@dataclass(frozen=True, slots=True)
class Remembered:
    """
    What is worth keeping of a decoded medium when its pixels are not needed again. `size` is (height, width)
    in patches; `warnings` name each kind of trouble once, however many frames share it.
    """

    size: tuple[int, int]
    geometry: Geometry
    warnings: tuple[PictureWarning, ...]


@dataclass(frozen=True, slots=True)
class Decoder:
    """Decodes the media of one request, for as long as it is not cancelled."""

    kind: MediaKind
    numbers: Preprocessing
    is_cancelled: IsCancelled

    def decode(self, frames: Sequence[Frame], index: int) -> tuple[Pixels, Remembered]:
        """
        Medium `index` of the request. Raises Cancelled before a picture that nobody waits for, and
        IMAGE_UNREADABLE, IMAGE_TOO_LARGE or VIDEO_UNREADABLE.
        """
        return self._video(frames, index) if self.kind == "video" else self._image(frames[0], index)

    def _image(self, frame: Frame, index: int) -> tuple[Pixels, Remembered]:
        picture = self._read(frame, index, 0)
        pixels = image_pixels(to_tensor(picture.image), self.numbers)
        return pixels, Remembered(pixels.grid[1:], geometry_of(picture), picture.warnings)

    def _video(self, frames: Sequence[Frame], index: int) -> tuple[Pixels, Remembered]:
        """Frames are decoded and resized one by one, so that only one is in memory at its full size."""
        geometry: Geometry | None = None
        resized: list[torch.Tensor] = []
        warnings: dict[str, PictureWarning] = {}
        for number, frame in enumerate(frames):
            picture = self._read(frame, index, number)
            geometry = geometry or geometry_of(picture)
            check_frame(picture, geometry, index, number)
            for warning in picture.warnings:
                warnings.setdefault(warning.code, replace(warning, frame=number))
            canvas = picture.image
            size = video_frame_size(len(frames), canvas.height, canvas.width, self.numbers)
            resized.append(resize(to_tensor(canvas), *size))
        assert geometry is not None  # The protocol has no video without frames.
        pixels = video_pixels(resized, self.numbers)
        return pixels, Remembered(pixels.grid[1:], geometry, tuple(warnings.values()))

    def _read(self, frame: Frame, index: int, number: int) -> Picture:
        if self.is_cancelled():
            raise Cancelled
        return read_picture(frame, index, self.numbers.factor, picture_name(self.kind, index, number))


def check_frame(picture: Picture, first: Geometry, index: int, number: int) -> None:
    """Refuses, as VIDEO_UNREADABLE, a frame that has another size than the first."""
    if (picture.width, picture.height) != (first.width, first.height):
        raise WorkerFailure(
            "VIDEO_UNREADABLE",
            f"{picture_name('video', index, number)} is {picture.width} × {picture.height}, "
            f"but the first is {first.width} × {first.height}",
            hint="Give all frames of a video the same size.",
            media=index,
        )


def geometry_of(picture: Picture) -> Geometry:
    canvas_width, canvas_height = picture.image.size
    return Geometry(picture.width, picture.height, canvas_width=canvas_width, canvas_height=canvas_height)
