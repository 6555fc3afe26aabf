"""Questions of every kind about things of which the embedded model is not too sure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from random import Random

from drawing import shapes, text
from embedded import assistant, system, user
from oracle import Question
from PIL import Image

from glimpse_worker.protocol import ChatMessage

WORDS = (
    "the red circle count seven tell me of quick Zebra 42 3.14 über 你好 lamp why ( ) { } <b> x=1; window "
    "paper 🙂 is there Hello read a square left of green"
)
ASKED = (
    "Describe this image.",
    "How many shapes are there?",
    "Read the text in this image.",
    "Where is the blue square?",
    "Read the text in the second image.",
    "Describe each image.",
    "What happens in this video?",
)
COLOURS = ("red", "blue", "green", "black")
ANSWERED = ("A red circle.", "3", "There is no text.", "Zebra lamp 42")
LETTERS = "abcdefghkmnprstABCDEFGHX0123456789    "
SIZES = ((112, 112), (112, 112), (112, 112), (56, 140), (140, 56), (84, 84), (224, 112), (168, 168))
"""Mostly of one size, so that one picture could be taken for another; none has to be resized."""
ODD_SIZES = ((37, 301), (301, 37), (97, 211), (5, 3), (130, 131), (57, 400), (299, 199))
SHORT = (1, 3, 8, 20)
"""How many words a text has."""
LONG = (1, 3, 8, 20, 20, 45, 75)


def questions(random: Random) -> list[list[Question]]:
    """
    200 in all: each alone, or with another that begins as it does: its second turn, or the same with more
    words.
    """
    alone = (
        [about_nothing(random) for _ in range(45)]
        + [about_pictures(random, 1) for _ in range(35)]
        + [about_pictures(random, 2 + index % 3) for index in range(35)]
        + [about_a_video(random) for _ in range(25)]
    )
    first = (
        [about_nothing(random) for _ in range(8)]
        + [about_pictures(random, 1 + index % 3) for index in range(16)]
        + [about_a_video(random) for _ in range(6)]
    )
    return [[question] for question in alone] + [[question, after(random, question)] for question in first]


def about_nothing(random: Random) -> Question:
    """Mostly ends with something that the model does, because it declines what it does not understand."""
    words, chance = salad(random, LONG), random.random()
    if chance < 0.6:
        words += f" Repeat the word {''.join(random.choices(LETTERS.strip(), k=6))}."
    elif chance < 0.8:
        words += " Name a random word."
    return Question([*_perhaps_system(random), user(words)])


def about_pictures(random: Random, count: int) -> Question:
    """The pictures stand before, behind or between the words, and not always in their order."""
    order = list(range(count))
    if random.random() < 0.3:
        random.shuffle(order)
    content: list[str | int] = [*order]
    for _ in range(random.randrange(1, 3)):
        content.insert(random.choice((0, len(content), len(content))), _asked(random))
    return Question([*_perhaps_system(random), user(*content)], [picture(random) for _ in range(count)])


def about_a_video(random: Random) -> Question:
    size = random.choice(((112, 112), (56, 112), (112, 84), (97, 131)))
    count = random.randrange(2, 8)
    if random.random() < 0.2:
        frames = [grain(random, size, 28) for _ in range(count)]
    else:
        frames = [letters(random, size) for _ in range(count)]
    return Question([user(0, _asked(random))], frames=frames, fps=random.choice((0.3, 1, 2, 24)))


def after(random: Random, first: Question) -> Question:
    """Another question that shares its beginning with `first`."""
    if random.random() < 0.7:
        return second_turn(random, first)
    [*earlier, last] = first.messages
    longer = ChatMessage(role="user", content=[*last.content, *user(_asked(random)).content])
    return replace(first, messages=[*earlier, longer])


def second_turn(random: Random, first: Question) -> Question:
    turns = [*first.messages, assistant(random.choice(ANSWERED)), user(_asked(random))]
    return replace(first, messages=turns)


def salad(random: Random, lengths: Sequence[int]) -> str:
    words = WORDS.split()
    return " ".join(random.choice(words) for _ in range(random.choice(lengths)))


def picture(random: Random) -> Image.Image:
    size = random.choice(SIZES if random.random() < 0.7 else ODD_SIZES)
    kind = random.randrange(6)
    if kind < 3:
        return letters(random, size)
    if kind == 3:
        colours = random.sample(COLOURS, 3)
        places = [(random.randrange(size[0]), random.randrange(size[1])) for _ in colours]
        drawn = ((left, top, left + 40, top + 40) for left, top in places)
        kinds = random.choices(("circle", "square"), k=3)
        return shapes(size, *zip(kinds, colours, drawn, strict=True))
    return grain(random, size, 1 if kind == 4 else 12)


def letters(random: Random, size: tuple[int, int]) -> Image.Image:
    return text("".join(random.choices(LETTERS, k=random.randrange(4, 24))), size, 18)


def grain(random: Random, size: tuple[int, int], cell: int) -> Image.Image:
    """Colours at random, every so many pixels, and smooth between them."""
    width, height = -(-size[0] // cell), -(-size[1] // cell)
    small = Image.frombytes("RGB", (width, height), random.randbytes(width * height * 3))
    return small.resize(size, Image.Resampling.BILINEAR)


def _asked(random: Random) -> str:
    """Often behind other words, and now and then these alone."""
    words = [salad(random, SHORT)] if random.random() < 0.5 else []
    if not words or random.random() < 0.7:
        words.append(random.choice(ASKED))
    return " ".join(words)


def _perhaps_system(random: Random) -> list[ChatMessage]:
    return [system("You are a helpful assistant.")] if random.random() < 0.3 else []
