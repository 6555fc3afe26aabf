"""Six plain shapes, where they are, and how both are said."""

from __future__ import annotations

import math
from dataclasses import dataclass

from PIL import ImageDraw

from .colours import Rgb

SHAPES = ("circle", "square", "triangle", "star", "diamond", "cross")
Box = tuple[int, int, int, int]
"""Left, top, right, bottom in pixels; the last two belong to the shape."""

_GRID = 1000
_INNER = 0.42
"""The inner radius of a star, in outer radii."""
_ARM = 0.32
"""How far from its box's edge the arm of a cross begins, in sides of the box."""
_EDGE = 0.36
"""Nearer to an edge than this share of the picture is "at" that edge."""


@dataclass(frozen=True, slots=True)
class Thing:
    colour: str
    shape: str
    box: Box

    @property
    def name(self) -> str:
        return f"{self.colour} {self.shape}"

    @property
    def centre(self) -> tuple[float, float]:
        left, top, right, bottom = self.box
        return (left + right) / 2, (top + bottom) / 2


def draw(canvas: ImageDraw.ImageDraw, shape: str, box: Box, fill: Rgb) -> None:
    if shape == "circle":
        canvas.ellipse(box, fill=fill)
    elif shape == "square":
        canvas.rectangle(box, fill=fill)
    else:
        canvas.polygon(_corners(shape, *box), fill=fill)


def _corners(shape: str, left: float, top: float, right: float, bottom: float) -> list[tuple[float, float]]:
    width, height, x, y = right - left, bottom - top, (left + right) / 2, (top + bottom) / 2
    if shape == "triangle":
        return [(x, top), (right, bottom), (left, bottom)]
    if shape == "diamond":
        return [(x, top), (right, y), (x, bottom), (left, y)]
    if shape == "star":
        return _star(x, top, width, height)
    across, down = width * _ARM, height * _ARM
    xs, ys = (left, left + across, right - across, right), (top, top + down, bottom - down, bottom)
    path = ((1, 0), (2, 0), (2, 1), (3, 1), (3, 2), (2, 2), (2, 3), (1, 3), (1, 2), (0, 2), (0, 1), (1, 1))
    return [(xs[column], ys[row]) for column, row in path]


def _star(x: float, top: float, width: float, height: float) -> list[tuple[float, float]]:
    points = []
    for index in range(10):
        angle, radius = -math.pi / 2 + index * math.pi / 5, 1 if index % 2 == 0 else _INNER
        points.append((math.cos(angle) * radius, math.sin(angle) * radius))
    most_x, most_y = max(x for x, _ in points), max(y for _, y in points)
    return [(x + a / most_x * width / 2, top + (b + 1) / (most_y + 1) * height) for a, b in points]


def place_word(centre: tuple[float, float], size: tuple[int, int]) -> str:
    """ "at the top left", "in the center"."""
    across, down = centre[0] / size[0], centre[1] / size[1]
    vertical = "top" if down < _EDGE else "bottom" if down > 1 - _EDGE else ""
    horizontal = "left" if across < _EDGE else "right" if across > 1 - _EDGE else ""
    words = f"{vertical} {horizontal}".strip()
    return f"at the {words}" if words else "in the center"


def place_is_plain(centre: tuple[float, float], size: tuple[int, int]) -> bool:
    """Whether the place is far enough from where its word would change that one can tell it by eye."""
    shares = (centre[0] / size[0], centre[1] / size[1])
    return all(abs(share - edge) > 0.04 for share in shares for edge in (_EDGE, 1 - _EDGE))


def grid_box(box: Box, size: tuple[int, int]) -> str:
    """A box as GLM-4.1V writes it: thousandths of the picture's sides."""
    left, top, right, bottom = box
    ends = ((left, size[0]), (top, size[1]), (right + 1, size[0]), (bottom + 1, size[1]))
    numbers = ",".join(str(min(_GRID - 1, round(end * _GRID / side))) for end, side in ends)
    return f"<|begin_of_box|>[[{numbers}]]<|end_of_box|>"
