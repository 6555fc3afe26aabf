"""Blocks of text on paper: composed as coverage, put on a canvas, coloured, seen."""

from __future__ import annotations

import io
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from .colours import Rgb, ink
from .lettering import Line, Mark, cells
from .sight import CELL, MOST_CELLS, PICTURES, picture, seen_size

if TYPE_CHECKING:
    from .conversation import Picture, Pixels

_MOST_PIXELS = MOST_CELLS * CELL**2
_LEAST_CELLS = math.ceil(PICTURES.min_pixels / PICTURES.temporal_patch_size / CELL**2)
WIDEST, HIGHEST = 448, 280
"""Pixels that a block of text may take."""


@dataclass(frozen=True, slots=True)
class Block:
    """Coverage (height, width), 0 to 255, with the places of its characters in reading order."""

    mask: Pixels
    marks: tuple[Mark, ...]

    @property
    def width(self) -> int:
        return int(self.mask.shape[1])

    @property
    def height(self) -> int:
        return int(self.mask.shape[0])

    @property
    def fits(self) -> bool:
        """Whether a canvas with a margin round it need not be shrunk for the model."""
        across, down = math.ceil((self.width + 8) / CELL), math.ceil((self.height + 8) / CELL)
        return self.width <= WIDEST and self.height <= HIGHEST and across * down <= MOST_CELLS


def compose(
    placed: Sequence[tuple[Line, int, int]], rules: Sequence[tuple[int, int, int, int]] = ()
) -> Block:
    """Lines at (left, top) and filled boxes (left, top, right, bottom) as one block."""
    ends = [(left + line.width, top + line.height) for line, left, top in placed]
    ends += [(right, bottom) for _, _, right, bottom in rules]
    mask = np.zeros((max(bottom for _, bottom in ends), max(right for right, _ in ends)), np.uint8)
    marks: list[Mark] = []
    for line, left, top in placed:
        area = mask[top : top + line.height, left : left + line.width]
        np.maximum(area, line.mask, out=area)
        marks.extend((character, left + x, top + y) for character, x, y in line.marks)
    for left, top, right, bottom in rules:
        mask[top:bottom, left:right] = 255
    return Block(mask, tuple(marks))


def stack(rng: Random, lines: Sequence[Line]) -> Block:
    """Lines under each other, at the left or centred."""
    gap, width, top = rng.randint(2, 8), max(line.width for line in lines), 0
    centred = rng.random() < 0.3
    placed = []
    for line in lines:
        placed.append((line, (width - line.width) // 2 if centred else 0, top))
        top += line.height + gap
    return compose(placed)


@dataclass(frozen=True, slots=True)
class Shown:
    """A picture of a block, the names of its colours, and how large the model sees it (1: as it is)."""

    picture: Picture
    front: str
    back: str
    scale: float


def show(rng: Random, block: Block) -> Shown:
    width, height = _canvas(rng, block)
    left, top = _place(rng, width - block.width, height - block.height)
    coverage = np.zeros((height, width), np.uint8)
    coverage[top : top + block.height, left : left + block.width] = block.mask
    front, letters, back, paper = ink(rng)
    image = _printed(rng, _coloured(coverage, letters, paper))
    seen = seen_size(width, height)
    marks = [(character, left + x, top + y) for character, x, y in block.marks]
    return Shown(picture(image, cells(marks, (width, height), seen)), front, back, seen[0] / width)


def _canvas(rng: Random, block: Block) -> tuple[int, int]:
    width, height = block.width + rng.randint(3, 30), block.height + rng.randint(3, 30)
    if rng.random() < 0.25:
        width += CELL * rng.randint(0, 3)
    if rng.random() < 0.25:
        height += CELL * rng.randint(0, 3)
    if rng.random() < 0.6:
        width, height = math.ceil(width / CELL) * CELL, math.ceil(height / CELL) * CELL
        while width * height < _LEAST_CELLS * CELL**2:
            if width <= height or rng.random() < 0.3:
                width += CELL
            else:
                height += CELL
    # No larger than what is seen as it is, where the block leaves a choice.
    while width * height > _MOST_PIXELS and height - CELL > block.height:
        height -= CELL
    while width * height > _MOST_PIXELS and width - CELL > block.width:
        width -= CELL
    return width, height


def _place(rng: Random, free_x: int, free_y: int) -> tuple[int, int]:
    chance = rng.random()
    if chance < 0.35:
        return free_x // 2, free_y // 2
    if chance < 0.6:
        return min(free_x, rng.randint(2, 12)), min(free_y, rng.randint(2, 12))
    return rng.randint(0, free_x), rng.randint(0, free_y)


_RAMP = np.arange(256, dtype=np.float32)[:, None] / 255


def _coloured(coverage: Pixels, letters: Rgb, paper: Rgb) -> Pixels:
    front, back = np.array(letters, np.float32), np.array(paper, np.float32)
    table = (back + (front - back) * _RAMP + 0.5).astype(np.uint8)
    # Half as long as indexing with it.
    return table.take(coverage, axis=0, mode="clip")


def _printed(rng: Random, pixels: Pixels) -> Image.Image:
    """Now and then paper with grain or a shadow, or a JPEG."""
    if rng.random() < 0.06:
        height, width, _ = pixels.shape
        noise = np.random.default_rng(rng.getrandbits(32))
        grain = noise.normal(0, rng.uniform(1, 8), (height, width, 1)).astype(np.float32)
        shadow = np.linspace(0, rng.uniform(-30, 0), width, dtype=np.float32)[None, :, None]
        pixels = np.clip(pixels + grain + shadow, 0, 255).astype(np.uint8)
    image = Image.fromarray(pixels)
    return as_jpeg(rng, image) if rng.random() < 0.05 else image


def as_jpeg(rng: Random, image: Image.Image) -> Image.Image:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=rng.randint(60, 95))
    return Image.open(buffer).convert("RGB")


def letter_size(rng: Random, least: int = 8) -> int:
    """Pixels per em: most text is small, some is a headline."""
    while True:
        low, high = rng.choices(((8, 9), (10, 13), (14, 24), (22, 36), (36, 60)), (7, 26, 42, 18, 7))[0]
        size = rng.randint(low, high)
        if size >= least:
            return size


def shrinking(size: int, least: int) -> Iterator[int]:
    """This size, then smaller ones, for what does not fit."""
    while size > least:
        yield size
        size = max(least, int(size * 0.85))
    yield least
