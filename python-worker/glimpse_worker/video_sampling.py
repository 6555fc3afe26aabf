"""Which frames of a video the model sees: the rule of transformers' Glm4vVideoProcessor."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class FrameSampling:
    """
    The numbers of a checkpoint's video preprocessor: so many frames of each second, up to so many seconds. Of
    a longer video as many are taken, evenly spread.
    """

    fps: float
    max_duration: float

    def asked(self, fps: float | None, max_frames: int | None) -> Sampling:
        """With what a request says instead; `max_frames` can only lower the checkpoint's own bound."""
        fps = self.fps if fps is None else fps
        most = int(self.max_duration * fps)
        if max_frames is None or max_frames >= most:
            return Sampling(fps, self.max_duration, most)
        return Sampling(fps, max_frames / fps, max_frames)


@dataclass(frozen=True, slots=True)
class Sampling:
    """How frames are chosen. Beyond `max_duration` seconds, `most` of them are."""

    fps: float
    max_duration: float
    most: int

    def indices(self, frames: int, fps: float) -> list[int]:
        """
        Of a video with so many frames, `fps` of them a second: in order, and an even number, for which the
        last may come twice. Operation for operation that of transformers, so that they round alike.
        """
        last = frames - 1
        duration = frames / fps
        if duration <= self.max_duration:
            count = max(math.floor(duration * self.fps), 1)
            chosen = [min(last, math.ceil(number * fps / self.fps)) for number in range(count)]
        elif self.most >= frames:
            chosen = list(range(frames))
        else:
            seconds = np.linspace(0, duration, self.most, endpoint=True)
            chosen = [min(last, math.ceil(second * fps)) for second in seconds]
        unique = list(dict.fromkeys(chosen))
        return unique + unique[-1:] * (len(unique) % 2)


def frame_seconds(indices: list[int], fps: float, temporal_patch_size: int) -> tuple[int, ...]:
    """The whole second of the first frame of every temporal patch, as it is written into the prompt."""
    return tuple(int(index / fps) for index in indices[::temporal_patch_size])
