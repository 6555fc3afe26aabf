"""
Videos whose inputs were recorded once from transformers' own processor, which needs torchvision:
test/gpu/record_video.py makes the fixture. Frames follow from a formula, so that none has to be stored.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

FIXTURE = Path(__file__).parent / "fixtures" / "video_inputs.npz"
QUESTION = "What happens in this video?"
MAX_PATCHES = 64


@dataclass(frozen=True, slots=True)
class VideoCase:
    """`sampled`: of a file of so many frames some are chosen, by the default or so many a second."""

    frames: int
    width: int
    height: int
    fps: float
    sampled: Literal["default"] | float | None = None

    def pictures(self) -> npt.NDArray[np.uint8]:
        """(frames, height, width, 3): two gradients and a chessboard with hard edges, all of which move."""
        n, y, x = np.mgrid[: self.frames, : self.height, : self.width]
        red = _fold(5 * x + 3 * y + 60 * n)
        green = _fold(x * y // 8 + 90 * n)
        blue = 255 * ((x // 9 + y // 7 + n) % 2)
        return np.stack((red, green, blue), axis=-1).astype(np.uint8)


def _fold(values: npt.NDArray[np.int_]) -> npt.NDArray[np.int_]:
    """Up to 255, down to 0, and up again."""
    return np.minimum(values % 510, 510 - values % 510)


def recorded(patches: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Those that the fixture holds, which is to stay small: evenly chosen, where there are many."""
    return patches[:: -(-len(patches) // MAX_PATCHES)]


CASES = {
    "two frames": VideoCase(2, 84, 84, fps=2),
    "eight frames": VideoCase(8, 56, 56, fps=2),
    "an odd number of frames": VideoCase(5, 56, 56, fps=1),
    "a fractional rate": VideoCase(6, 56, 56, fps=0.7),
    "many frames a second": VideoCase(4, 56, 56, fps=29.97),
    "odd sides, enlarged": VideoCase(3, 47, 61, fps=2.5),
    "odd sides, made smaller": VideoCase(4, 97, 69, fps=2),
    "a short side below a token's": VideoCase(2, 151, 19, fps=2),
    "too many pixels": VideoCase(7, 571, 113, fps=2),
}

FILES = {
    "a file of three seconds": VideoCase(75, 61, 47, fps=25, sampled="default"),
    "a file with few frames": VideoCase(5, 56, 84, fps=12.5, sampled="default"),
    "a slow choice": VideoCase(90, 97, 69, fps=10, sampled=0.5),
    "more a second than there are": VideoCase(7, 56, 56, fps=4, sampled=9.5),
}
