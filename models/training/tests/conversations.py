"""Small conversations made by hand, one of each kind. What their pictures show does not matter."""

from __future__ import annotations

import numpy as np
from PIL import Image

from models.training.conversation import SLOTS, Clip, Conversation, Medium, Picture, Task, Turn

_BOX = "<|begin_of_box|>[[12,34,567,890]]<|end_of_box|>"
_random = np.random.default_rng(5)


def picture(rows: int, columns: int, *, read: bool = False) -> Picture:
    """Of so many cells."""
    pixels = _random.integers(0, 256, (28 * rows, 28 * columns, 3), np.uint8)
    characters = _random.integers(0, 95, (rows * columns, SLOTS), np.uint8) if read else None
    return Picture(Image.fromarray(pixels), pixels, characters)


def clip(frames: int, rows: int, columns: int) -> Clip:
    pixels = _random.integers(0, 256, (frames, 28 * rows, 28 * columns, 3), np.uint8)
    originals = tuple(Image.fromarray(frame) for frame in pixels)
    return Clip(originals, 2.0, pixels, tuple(range(frames // 2)))


def describe(*media: Medium) -> Turn:
    return Turn(Task.DESCRIBE, "Describe this image.", "I see 1 shape.", "A red circle.", media)


def locate(*media: Medium) -> Turn:
    return Turn(Task.BOX, "Where is the circle?", "The circle is at the top left.", _BOX, media)


TALK = Turn(Task.TALK, "What is 7 + 8?", "7 + 8 = 15.", "15")
READ = Turn(Task.READ, "Read the text.", "Two lines.", "Talk 2\nme", (picture(3, 4, read=True),))

CONVERSATIONS = {
    "text": Conversation((TALK,)),
    "system": Conversation((TALK,), system="You are brief."),
    "picture": Conversation((READ,)),
    "long picture": Conversation((describe(picture(1, 96)),)),
    "text first": Conversation((describe(picture(2, 5)),), text_first=True),
    "several pictures": Conversation((describe(picture(2, 3), picture(4, 2), picture(3, 3)),)),
    "clip": Conversation((describe(clip(6, 3, 2)),)),
    "largest clip": Conversation((describe(clip(8, 4, 5)),)),
    "turns": Conversation((describe(picture(3, 3)), TALK, locate(picture(2, 4)))),
    "plain history": Conversation((locate(picture(3, 3)), TALK, locate()), plain_history=True),
}
