"""
Lines of text as coverage masks, and where the middle of each character is.

FreeType takes longer for a line than everything else that is drawn, so most lines are put together from
glyphs that were drawn once; some are drawn by Pillow whole, with the kerning that glyphs alone have not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from .conversation import ALPHABET, SLOTS
from .sight import CELL

if TYPE_CHECKING:
    from .conversation import Pixels

FONTS = Path(__file__).parent / "fonts"
PILLOWS_OWN = ""
"""The name of the font that Pillow brings along."""

_KERNED = 0.2
_CODES = {character: index + 1 for index, character in enumerate(ALPHABET)}

Typeface = ImageFont.FreeTypeFont


@lru_cache(maxsize=4096)
def typeface(name: str, size: int) -> Typeface:
    if name == PILLOWS_OWN:
        own = ImageFont.load_default(size)
        assert isinstance(own, ImageFont.FreeTypeFont)
        return own
    return ImageFont.truetype(FONTS / f"{name}.ttf", size, layout_engine=ImageFont.Layout.BASIC)


@lru_cache(maxsize=1)
def names() -> tuple[str, ...]:
    """Every font; Pillow's own comes most often, because that is what a first script draws with."""
    files = tuple(sorted(path.stem for path in FONTS.glob("*.ttf")))
    return (PILLOWS_OWN,) * max(1, len(files) // 6) + files


def any_font(rng: Random) -> str:
    return rng.choice(names())


@dataclass(frozen=True, slots=True)
class _Glyph:
    mask: Pixels | None
    left: int
    top: int
    advance: float


@lru_cache(maxsize=400_000)
def _glyph(name: str, size: int, character: str) -> _Glyph:
    face = typeface(name, size)
    mask, (left, top) = face.getmask2(character, "L")
    width, height = mask.size
    pixels = np.frombuffer(bytes(mask), np.uint8).reshape(height, width) if width * height else None
    return _Glyph(pixels, int(left), int(top), face.getlength(character))


Mark = tuple[str, float, float]
"""A character and the middle of where it stands."""


@dataclass(frozen=True, slots=True)
class Line:
    """A line of text: its coverage (height, width), 0 to 255, and its characters' places in that."""

    mask: Pixels
    marks: tuple[Mark, ...]

    @property
    def width(self) -> int:
        return int(self.mask.shape[1])

    @property
    def height(self) -> int:
        return int(self.mask.shape[0])


def letter(rng: Random, text: str, name: str, size: int) -> Line:
    """A line in the font of this name at this size in pixels per em. `text` holds at least one character."""
    return _kerned(text, name, size) if rng.random() < _KERNED else _assembled(text, name, size)


def _assembled(text: str, name: str, size: int) -> Line:
    pen, right, bottom = 0.0, 1, 1
    placed: list[tuple[str, Pixels, int, int]] = []
    for character in text:
        glyph = _glyph(name, size, character)
        if glyph.mask is not None:
            left = max(0, round(pen) + glyph.left)
            placed.append((character, glyph.mask, left, glyph.top))
            right = max(right, left + glyph.mask.shape[1])
            bottom = max(bottom, glyph.top + glyph.mask.shape[0])
        pen += glyph.advance
    mask = np.zeros((bottom, max(right, int(pen))), np.uint8)
    marks: list[Mark] = []
    for character, pixels, left, top in placed:
        height, width = pixels.shape
        top = max(0, top)
        area = mask[top : top + height, left : left + width]
        np.maximum(area, pixels[: area.shape[0]], out=area)
        marks.append((character, left + width / 2, bottom / 2))
    return Line(mask, tuple(marks))


def _kerned(text: str, name: str, size: int) -> Line:
    face = typeface(name, size)
    _, _, right, bottom = (int(edge) for edge in face.getbbox(text))
    canvas = Image.new("L", (max(1, right), max(1, bottom)))
    ImageDraw.Draw(canvas).text((0, 0), text, fill=255, font=face)
    marks: list[Mark] = []
    for index, character in enumerate(text):
        if character != " ":
            middle = face.getlength(text[:index]) + face.getlength(character) / 2
            marks.append((character, middle, bottom / 2))
    return Line(np.asarray(canvas), tuple(marks))


def cells(marks: Sequence[Mark], size: tuple[int, int], seen: tuple[int, int]) -> Pixels:
    """
    What the auxiliary loss asks for: `Picture.characters` of a picture of `size` that the model sees at
    `seen`, both width and height. A cell with more characters than slots keeps the first.
    """
    columns, rows = seen[0] // CELL, seen[1] // CELL
    across, down = seen[0] / size[0] / CELL, seen[1] / size[1] / CELL
    target = np.zeros((rows * columns, SLOTS), np.uint8)
    taken = [0] * (rows * columns)
    for character, x, y in marks:
        column, row = min(columns - 1, max(0, int(x * across))), min(rows - 1, max(0, int(y * down)))
        cell = row * columns + column
        if taken[cell] < SLOTS:
            target[cell, taken[cell]] = _CODES.get(character, 0)
            taken[cell] += 1
    return target
