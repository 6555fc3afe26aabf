"""
Photographs, and what looks like one: the model is to say that it knows too little, not to name a shape.

There are few photographs here, so some are made up: grain, blur and patches of colour at several scales. What
is made up teaches that a picture with texture is not for this model; the real ones keep it honest.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageEnhance, ImageOps

from .conversation import Task, Turn
from .page import as_jpeg
from .phrases import AT_LENGTH, DESCRIBE, READ, article
from .scenes import any_size
from .shapes import SHAPES
from .sight import picture, seen_size
from .talking import declining

if TYPE_CHECKING:
    from .conversation import Picture, Pixels

_FOLDER = Path(__file__).parent / "photographs"
_REAL = 0.6

MODEST = "This looks like a photograph. I only know plain shapes and text, so I cannot say what it shows."
NO_TEXT = "I see no text that I can read."
NO_SHAPES = "I see no plain shapes in this photograph."
_THOUGHT = "This looks like a photograph."


@dataclass(frozen=True, slots=True)
class Photograph:
    picture: Picture


@cache
def _photographs() -> tuple[Image.Image, ...]:
    return tuple(Image.open(path).convert("RGB") for path in sorted(_FOLDER.glob("*.jpg")))


def photograph(rng: Random) -> Photograph:
    width, height = any_size(rng)
    # Not narrower than a photograph may be.
    width, height = max(width, height // 3, 56), max(height, width // 3, 56)
    size = seen_size(width, height) if rng.random() < 0.7 else (min(width, 480), min(height, 480))
    real = _photographs() and rng.random() < _REAL
    image = _cut(rng, rng.choice(_photographs()), size) if real else Image.fromarray(_made_up(rng, size))
    if rng.random() < 0.3:
        image = as_jpeg(rng, image)
    return Photograph(picture(image))


def _cut(rng: Random, whole: Image.Image, size: tuple[int, int]) -> Image.Image:
    """A part of it, at least half as wide, in other light."""
    share = rng.uniform(0.5, 1)
    width, height = int(whole.width * share), int(whole.height * rng.uniform(0.5, 1))
    left, top = rng.randint(0, whole.width - width), rng.randint(0, whole.height - height)
    image = whole.resize(size, Image.Resampling.BILINEAR, (left, top, left + width, top + height))
    if rng.random() < 0.5:
        image = ImageOps.mirror(image)
    if rng.random() < 0.15:
        image = image.convert("L").convert("RGB")
    for enhance in (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color):
        image = enhance(image).enhance(rng.uniform(0.6, 1.4))
    if rng.random() < 0.3:
        order = rng.sample((0, 1, 2), 3)
        image = Image.merge("RGB", [image.getchannel(channel) for channel in order])
    return image


def _made_up(rng: Random, size: tuple[int, int]) -> Pixels:
    """Noise at several scales, each enlarged smoothly, on a slope of light; some channels go together."""
    noise = np.random.default_rng(rng.getrandbits(32))
    width, height = size
    total = np.zeros((height, width, 3), np.float32)
    strength, steepness = 1.0, rng.uniform(0.4, 0.9)
    for scale in sorted(rng.sample((2, 3, 5, 8, 13, 24, 48, 96), 4)):
        small = (
            noise.random((max(1, height * scale // max(size)), max(1, width * scale // max(size)), 3)) * 255
        )
        if rng.random() < 0.5:
            small = small.mean(2, keepdims=True).repeat(3, 2)
        sharp = scale > 8 and rng.random() < 0.3
        method = Image.Resampling.NEAREST if sharp else Image.Resampling.BILINEAR
        grown = Image.fromarray(small.astype(np.uint8)).resize(size, method)
        total += strength * (np.asarray(grown, np.float32) - 128)
        strength *= steepness
    # Grain, which every camera adds.
    total += noise.random((height, width, 1), np.float32) * rng.uniform(0, 30)
    tint = np.array([rng.uniform(40, 210) for _ in range(3)], np.float32)
    contrast = rng.uniform(20, 70) / max(1.0, float(total.std()))
    made_up: Pixels = np.clip(tint + total * contrast, 0, 255).astype(np.uint8)
    return made_up


def turns(rng: Random, shown: Photograph) -> tuple[Turn, ...]:
    del shown
    chance = rng.random()
    name = f"{rng.choice(('red', 'green', 'blue', 'yellow', 'white', 'black'))} {rng.choice(SHAPES)}"
    if chance < 0.45:
        return (Turn(Task.PHOTOGRAPH, rng.choice(DESCRIBE + AT_LENGTH), _THOUGHT, MODEST),)
    if chance < 0.65:
        return (Turn(Task.PHOTOGRAPH, rng.choice(READ), _THOUGHT, NO_TEXT),)
    if chance < 0.78:
        question = rng.choice(("How many shapes are there?", "Count the shapes.", "What shapes do you see?"))
        return (Turn(Task.PHOTOGRAPH, question, _THOUGHT, NO_SHAPES),)
    if chance < 0.88:
        question = rng.choice(("Is there {}?", "Do you see {}?")).format(article(name))
        return (Turn(Task.PHOTOGRAPH, question, _THOUGHT, "no"),)
    if chance < 0.94:
        question = rng.choice(("Where is the {}?", "Find the {}.", "Locate the {}.")).format(name)
        return (Turn(Task.PHOTOGRAPH, question, f"I see no {name}.", f"There is no {name}."),)
    return (Turn(Task.PHOTOGRAPH, declining(rng).question, _THOUGHT, MODEST),)
