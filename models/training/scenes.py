"""Pictures of plain shapes on a plain ground, in every size that the processor admits."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING

from PIL import Image, ImageDraw

from .colours import ground, on_ground, shade
from .page import as_jpeg
from .phrases import article, enumerated
from .shapes import SHAPES, Box, Thing, draw, grid_box, place_is_plain, place_word
from .sight import CELL, MOST_CELLS, picture, seen_size

if TYPE_CHECKING:
    from .conversation import Picture

SMALLEST = 18
"""Pixels on a side of the smallest shape, as the model sees it."""
_BETWEEN = 4
"""Pixels that are free between two shapes."""
Size = tuple[int, int]
"""Width and height in pixels."""


@dataclass(frozen=True, slots=True)
class Scene:
    picture: Picture
    things: tuple[Thing, ...]
    ground: str

    @property
    def size(self) -> Size:
        return self.picture.original.size

    @property
    def ordered(self) -> list[Thing]:
        """From left to right; from top to bottom where the picture is clearly higher than wide."""
        axis = _reading_axis(self.size)
        return sorted(self.things, key=lambda thing: (thing.centre[axis], thing.centre[1 - axis]))

    @property
    def order_is_plain(self) -> bool:
        """Whether one can tell the order, and for two shapes what is beside and what is above."""
        if len(self.things) == 2:
            (x, y), (other_x, other_y) = (thing.centre for thing in self.things)
            return abs(abs(x - other_x) - abs(y - other_y)) > self._just_visible * 1.5
        axis = _reading_axis(self.size)
        places = sorted(thing.centre[axis] for thing in self.things)
        return all(after - before > self._just_visible for before, after in itertools.pairwise(places))

    @property
    def _just_visible(self) -> float:
        """Pixels of the original that are 7 as the model sees it."""
        seen_width: int = self.picture.pixels.shape[1]
        return 7 * self.size[0] / seen_width

    def listing(self, things: list[Thing]) -> str:
        return enumerated([article(thing.name) for thing in things])

    def place(self, thing: Thing) -> str:
        return place_word(thing.centre, self.size)

    def place_is_plain(self, thing: Thing) -> bool:
        return place_is_plain(thing.centre, self.size)

    def box(self, thing: Thing) -> str:
        return grid_box(thing.box, self.size)

    def sentence(self) -> str:
        """The picture in one sentence."""
        if not self.things:
            return f"A plain {self.ground} image."
        what = self._pair() if len(self.things) == 2 else self.listing(self.ordered)
        what += f" on {article(self.ground)} background."
        return what[0].upper() + what[1:]

    def _pair(self) -> str:
        one, other = self.things
        across = abs(one.centre[0] - other.centre[0]) >= abs(one.centre[1] - other.centre[1])
        axis, relation = (0, "to the left of") if across else (1, "above")
        first, second = sorted(self.things, key=lambda thing: thing.centre[axis])
        return f"{article(first.name)} {relation} {article(second.name)}"

    def at_length(self) -> str:
        """The picture in one sentence per shape."""
        count = len(self.things)
        begin = f"The image has {article(self.ground)} background. "
        if not count:
            return begin + "It shows nothing else."
        begin += "It shows one shape. " if count == 1 else f"It shows {_SMALL[count]} shapes. "
        ordinals = ("The first", "The second", "The third", "The fourth", "The fifth", "The sixth")
        subjects = ("It",) if count == 1 else ordinals
        sentences = [
            f"{subject} is {article(thing.name)} {self.place(thing)}."
            for subject, thing in zip(subjects, self.ordered, strict=False)
        ]
        return begin + " ".join(sentences)


_SMALL = ("no", "one", "two", "three", "four", "five", "six")


def _reading_axis(size: Size) -> int:
    return 1 if size[1] > 1.25 * size[0] else 0


def any_size(rng: Random) -> Size:
    """
    As it is seen, or not. Large pictures are shrunk before the model sees them: those drawn here are mostly a
    little larger than that, in every shape of a rectangle, because large ones take long to draw.
    """
    chance = rng.random()
    if chance < 0.4:
        while True:
            across, down = rng.randint(2, 14), rng.randint(2, 14)
            if 8 <= across * down <= MOST_CELLS:
                return across * CELL, down * CELL
    width, height = (round(math.exp(rng.uniform(math.log(44), math.log(1300)))) for _ in range(2))
    if chance < 0.42:
        return width, height
    area = MOST_CELLS * CELL**2
    factor = min(1.0, math.sqrt(rng.uniform(1.0, 1.8) * area / (width * height)))
    return max(20, round(width * factor)), max(20, round(height * factor))


def scene(rng: Random, count: int | None = None, size: Size | None = None) -> Scene:
    """`count` shapes at most, or how many there happen to be."""
    if count is None:
        count = rng.choices((0, 1, 2, 3, 4, 5, 6), (4, 26, 28, 20, 10, 8, 4))[0]
    size = size or any_size(rng)
    background = ground(rng)
    things = _things(rng, background, _boxes(rng, count, size))
    image = Image.new("RGB", size, shade(rng, background))
    canvas = ImageDraw.Draw(image)
    for thing in things:
        draw(canvas, thing.shape, thing.box, shade(rng, thing.colour))
    if rng.random() < 0.04:
        image = as_jpeg(rng, image)
    return Scene(picture(image), tuple(things), background)


def _things(rng: Random, background: str, boxes: list[Box]) -> list[Thing]:
    things: list[Thing] = []
    names: set[str] = set()
    for box in boxes:
        thing = Thing(on_ground(rng, background), rng.choice(SHAPES), box)
        if thing.name not in names:
            names.add(thing.name)
            things.append(thing)
    return things


def _boxes(rng: Random, count: int, size: Size) -> list[Box]:
    """Boxes that do not touch: anywhere, or for many shapes often side by side. Most are squares."""
    seen = seen_size(*size)
    scale_x, scale_y = size[0] / seen[0], size[1] / seen[1]
    longest = max(seen) if count > 1 and max(seen) > 2 * min(seen) else min(seen)
    largest = max(SMALLEST, int(longest * (0.8 if count == 1 else 0.5 if count == 2 else 0.36)))
    smallest = min(largest, max(SMALLEST, int(min(seen) * 0.14)))
    slots = _slots(rng, count, seen) if count >= 3 and rng.random() < 0.6 else None
    boxes: list[Box] = []
    for attempt in range(40):
        if len(boxes) == count or (slots and attempt >= len(slots)):
            break
        area = slots[attempt] if slots else (0, 0, *seen)
        box = _box(rng, area, smallest, largest)
        if box and all(_apart(box, other) for other in boxes):
            boxes.append(box)
    return [_scaled(box, scale_x, scale_y) for box in boxes]


def _slots(rng: Random, count: int, seen: Size) -> list[Box]:
    """As many strips side by side along the longer side, in any order."""
    width, height = seen
    if width >= height:
        strips = [(width * i // count, 0, width * (i + 1) // count, height) for i in range(count)]
    else:
        strips = [(0, height * i // count, width, height * (i + 1) // count) for i in range(count)]
    rng.shuffle(strips)
    return strips


def _box(rng: Random, area: Box, smallest: int, largest: int) -> Box | None:
    left, top, right, bottom = area
    room_x, room_y = right - left - 2 * _BETWEEN, bottom - top - 2 * _BETWEEN
    if min(room_x, room_y) < min(smallest, SMALLEST):
        return None
    width = height = rng.randint(smallest, largest)
    if rng.random() < 0.2:
        height = rng.randint(max(smallest, width // 2), max(smallest, min(largest, 2 * width)))
    else:
        width = height = min(width, room_x, room_y)
    width, height = min(width, room_x), min(height, room_y)
    x = left + _BETWEEN + rng.randint(0, room_x - width)
    y = top + _BETWEEN + rng.randint(0, room_y - height)
    return x, y, x + width, y + height


def _apart(box: Box, other: Box) -> bool:
    return (
        box[0] > other[2] + _BETWEEN
        or other[0] > box[2] + _BETWEEN
        or box[1] > other[3] + _BETWEEN
        or other[1] > box[3] + _BETWEEN
    )


def _scaled(box: Box, across: float, down: float) -> Box:
    """From the picture as it is seen to the picture as it is."""
    return round(box[0] * across), round(box[1] * down), round(box[2] * across), round(box[3] * down)


def absent(rng: Random, shown: Scene) -> str:
    """The name of something that the picture does not show."""
    while True:
        colour = (
            rng.choice(shown.things).colour
            if shown.things and rng.random() < 0.4
            else on_ground(rng, shown.ground)
        )
        shape = rng.choice(shown.things).shape if shown.things and rng.random() < 0.4 else rng.choice(SHAPES)
        if not any(thing.name == f"{colour} {shape}" for thing in shown.things):
            return f"{colour} {shape}"
