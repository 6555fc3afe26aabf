"""Pictures that the embedded model has an opinion about, and pictures that only exercise the pixels."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

Box = tuple[int, int, int, int]


def shapes(size: tuple[int, int], *drawn: tuple[str, str, Box]) -> Image.Image:
    """Each shape is (kind, colour, box), on white; kind is "circle" or "square"."""
    picture = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(picture)
    for kind, colour, box in drawn:
        (draw.ellipse if kind == "circle" else draw.rectangle)(box, fill=colour)
    return picture


def red_circle(size: tuple[int, int] = (224, 224)) -> Image.Image:
    width, height = size
    return shapes(size, ("circle", "red", (width // 4, height // 4, width // 4 + 60, height // 4 + 60)))


def text(words: str, size: tuple[int, int] = (224, 112), pixels: int = 28) -> Image.Image:
    picture = Image.new("RGB", size, "white")
    font = ImageFont.load_default(pixels)
    ImageDraw.Draw(picture).text((20, size[1] // 3), words, fill="black", font=font)
    return picture


def moving_circle(frames: int = 8, size: tuple[int, int] = (112, 112)) -> list[Image.Image]:
    """A red circle that moves to the right."""
    return [shapes(size, ("circle", "red", (8 + step * 9, 40, 38 + step * 9, 70))) for step in range(frames)]


def noise(width: int, height: int) -> Image.Image:
    values = np.random.default_rng(width * 10_007 + height).integers(
        0, 256, (height, width, 3), dtype=np.uint8
    )
    return Image.fromarray(values)


def photo(width: int, height: int) -> Image.Image:
    """Colours that change as smoothly as a photograph's."""
    small = noise(max(2, width // 8), max(2, height // 8))
    return small.resize((width, height), Image.Resampling.BILINEAR)


def encode(picture: Image.Image, format: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, format, **options)
    return buffer.getvalue()
