"""What a sample is: a conversation about pictures or a video, with the answers that are right."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL import Image

    Pixels = NDArray[np.uint8]

SLOTS = 12
"""How many characters of one cell of 28 × 28 pixels the auxiliary loss asks for."""

UNKNOWN = 255
"""In `Picture.characters`: nobody knows what stands in this cell, do not ask."""


class Task(StrEnum):
    """What is asked. The figures of an evaluation are counted by it."""

    DESCRIBE = "describe"
    COUNT = "count"
    ATTRIBUTE = "attribute"
    BOX = "box"
    READ = "read"
    TABLE = "table"
    RECEIPT = "receipt"
    JSON = "json"
    VIDEO = "video"
    VIDEO_TEXT = "video text"
    SEVERAL = "several"
    TALK = "talk"
    LONG = "long"
    RANDOM = "random"
    PHOTOGRAPH = "photograph"


@dataclass(frozen=True, slots=True)
class Picture:
    """
    A picture as a caller would send it, and what the model sees of it.

    `pixels` is (height, width, 3), both multiples of 28. `characters` is (height/28 · width/28, SLOTS): for
    every merged visual token, in reading order, the characters whose centres lie in its cell, as indexes
    of `ALPHABET` + 1, 0 for none; None where there is nothing to ask.
    """

    original: Image.Image
    pixels: Pixels
    characters: Pixels | None = None


@dataclass(frozen=True, slots=True)
class Clip:
    """
    Frames as a caller would send them, and what the model sees of them.

    `pixels` is (frames, height, width, 3) with an even number of frames, the last one repeated if need be;
    `seconds` says when each pair of frames begins, as the prompt names it.
    """

    originals: tuple[Image.Image, ...]
    fps: float
    pixels: Pixels
    seconds: tuple[int, ...]


Medium = Picture | Clip

ALPHABET = "".join(map(chr, range(33, 127)))
"""The characters that the auxiliary loss knows."""


@dataclass(frozen=True, slots=True)
class Turn:
    """A question, the thought that leads to the answer, the answer. `media` come with the question."""

    task: Task
    question: str
    thought: str
    answer: str
    media: tuple[Medium, ...] = ()


@dataclass(frozen=True, slots=True)
class Conversation:
    """
    `text_first` puts the first question before its media. `plain_history` shows all answers but the last one
    without their thoughts, as the authors of GLM-4.1V ask callers to send them, and does not train them.
    """

    turns: tuple[Turn, ...]
    system: str | None = None
    text_first: bool = False
    plain_history: bool = False
