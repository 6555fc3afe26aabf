"""Which way up a frame is shown: phones turn the picture on the screen, not in the file."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import numpy.typing as npt
from av.buffer import Buffer
from av.video.frame import VideoFrame


@dataclass(frozen=True, slots=True)
class Orientation:
    """What to do to a frame, in this order."""

    swap_axes: bool = False
    mirror: bool = False
    flip: bool = False

    def apply(self, picture: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        if self.swap_axes:
            picture = picture.transpose(1, 0, 2)
        if self.mirror:
            picture = picture[:, ::-1]
        if self.flip:
            picture = picture[::-1]
        return np.ascontiguousarray(picture)


def orientation_of(frame: VideoFrame) -> Orientation:
    """
    By the display matrix, whose first two rows tell where the file's x and y point on the screen; turns by
    less than 45° are left as they are.
    """
    # PyAV's types know one kind of side data only.
    side_data: Mapping[str, Buffer] = cast(Any, frame.side_data)
    data = side_data.get("DISPLAYMATRIX")
    if data is None:
        return Orientation()
    across_x, across_y, _, down_x, down_y = struct.unpack_from("=5i", bytes(data))
    if abs(across_x) >= abs(across_y):
        return Orientation(mirror=across_x < 0, flip=down_y < 0)
    return Orientation(swap_axes=True, mirror=down_x < 0, flip=across_y < 0)
