"""Several pictures in one conversation: at once, or one with each question."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from random import Random
from typing import TypeVar

from .conversation import Picture, Task, Turn
from .looking import describing
from .phrases import READ, article
from .reading import Page, Text, page
from .scenes import Scene, scene
from .sight import CELL
from .talking import talk
from .writing import text_line

_MOST_CELLS = 36
"""Of each picture: several of them share one prompt."""


Drawn = TypeVar("Drawn")


def _small(draw: Callable[[], Drawn], picture: Callable[[Drawn], Picture]) -> Drawn:
    while True:
        drawn = draw()
        height, width, _ = picture(drawn).pixels.shape
        if height * width <= _MOST_CELLS * CELL**2:
            return drawn


def _scene(rng: Random, count: int) -> Scene:
    return _small(lambda: scene(rng, count), lambda shown: shown.picture)


def _page(rng: Random, most: int, held_out: bool) -> Page:
    return _small(
        lambda: page(rng, Text((text_line(rng, most, held_out),)), least=10),
        lambda shown: shown.shown.picture,
    )


def turns(rng: Random, held_out: bool) -> tuple[Turn, ...]:
    makers = (_describe_each, _one_after_another, _read_one, _which)
    return rng.choices(makers, (40, 20, 22, 18))[0](rng, held_out)


def _describe_each(rng: Random, held_out: bool) -> tuple[Turn, ...]:
    del held_out
    count = rng.choice((2, 2, 3))
    scenes = [_scene(rng, rng.choice((1, 1, 1, 0))) for _ in range(count)]
    question = rng.choice(
        ("Describe each image.", "Describe the images.", "describe these images", "Describe both images.")
    )
    if count == 3:
        question = question.replace("both", "all")
    answer = " ".join(f"Image {index + 1}: {shown.sentence()}" for index, shown in enumerate(scenes))
    media = tuple(shown.picture for shown in scenes)
    return (Turn(Task.SEVERAL, question, f"There are {count} images.", answer, media),)


def _one_after_another(rng: Random, held_out: bool) -> tuple[Turn, ...]:
    first = _about_one(rng, held_out) if rng.random() < 0.7 else talk(rng, held_out)
    return first, _about_one(rng, held_out)


def _about_one(rng: Random, held_out: bool) -> Turn:
    if rng.random() < 0.5:
        shown = _page(rng, 10, held_out)
        thought = "The image shows one line of text."
        return Turn(Task.SEVERAL, rng.choice(READ), thought, shown.text.plain, (shown.shown.picture,))
    while True:
        seen = _scene(rng, rng.choice((1, 1, 2)))
        if seen.order_is_plain:
            return replace(describing(rng, seen), task=Task.SEVERAL, media=(seen.picture,))


def _read_one(rng: Random, held_out: bool) -> tuple[Turn, ...]:
    pages = [_page(rng, 8, held_out) for _ in range(2)]
    chosen = rng.randrange(2)
    word = ("first", "second")[chosen]
    question = rng.choice(("Read the text in the {} image.", "What does the {} image say?")).format(word)
    media = tuple(shown.shown.picture for shown in pages)
    return (Turn(Task.SEVERAL, question, f"I look at the {word} image.", pages[chosen].text.plain, media),)


def _which(rng: Random, held_out: bool) -> tuple[Turn, ...]:
    del held_out
    while True:
        scenes = [_scene(rng, 1) for _ in range(2)]
        if all(shown.things for shown in scenes) and scenes[0].things[0].name != scenes[1].things[0].name:
            break
    chosen = rng.randrange(2)
    name = article(scenes[chosen].things[0].name)
    answer = f"The {('first', 'second')[chosen]} image."
    media = tuple(shown.picture for shown in scenes)
    return (Turn(Task.SEVERAL, f"Which image shows {name}?", f"I look for {name}.", answer, media),)
