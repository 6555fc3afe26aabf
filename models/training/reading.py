"""Text to read: one line or several, some under a title, some as a list."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from .conversation import Task, Turn
from .lettering import Line, any_font, letter
from .page import Block, Shown, compose, letter_size, show, shrinking, stack
from .phrases import DESCRIBE, MARKDOWN, READ, article, colour_word, number_word
from .writing import phrase, text_line

SMALLEST = 8
"""Pixels per em of the smallest text."""


@dataclass(frozen=True, slots=True)
class Text:
    """Lines as they are shown. A `title` is the first, in larger letters; `listed` ones begin with a dash."""

    lines: tuple[str, ...]
    title: bool = False
    listed: bool = False

    @property
    def plain(self) -> str:
        return "\n".join(
            f"- {line}" if self._marked(index) else line for index, line in enumerate(self.lines)
        )

    @property
    def markdown(self) -> str:
        if not self.title:
            return self.plain
        title, rest = self.plain.split("\n", 1)
        return f"# {title}\n\n{rest}"

    def _marked(self, index: int) -> bool:
        return self.listed and not (self.title and index == 0)


@dataclass(frozen=True, slots=True)
class Page:
    text: Text
    shown: Shown
    pixels_per_em: float
    """As the model sees it: of the smallest letters."""


def line_count(rng: Random) -> int:
    return rng.choices((1, 2, 3, 4, 5, 6), (58, 15, 12, 10, 3, 2))[0]


def some_text(rng: Random, held_out: bool, lines: int) -> Text:
    if lines == 1:
        longest = rng.choice((4, 8, 12, 16, 24, 24, 28))
        return Text((text_line(rng, longest, held_out),))
    longest = rng.choice((6, 9, 12, 12, 12, 20)) if lines < 5 else rng.choice((8, 12))
    title, listed = lines >= 3 and rng.random() < 0.2, lines >= 3 and rng.random() < 0.2
    shown = tuple(text_line(rng, longest, held_out) for _ in range(lines))
    if title:
        shown = (phrase(rng, longest, held_out), *shown[1:])
    return Text(shown, title, listed)


def page(rng: Random, text: Text, least: int = SMALLEST) -> Page:
    """
    `least` bounds the letters' size in pixels per em as they are drawn; what does not fit at that size is
    shrunk with the picture.
    """
    size = letter_size(rng, least)
    if len(text.lines[0]) > 6:
        size = min(size, 36)
    block, size = fitted(rng, text, size, least)
    shown = show(rng, block)
    return Page(text, shown, size * shown.scale)


def fitted(rng: Random, text: Text, size: int, least: int) -> tuple[Block, int]:
    """The text in the largest letters up to `size` that fit, and their size."""
    font = any_font(rng)
    headline = rng.uniform(1.4, 1.8)
    for smaller in shrinking(size, least):
        lines = [_line(rng, text, index, font, smaller, headline) for index in range(len(text.lines))]
        block = stack(rng, lines)
        if block.fits:
            break
    return block, smaller


def _line(rng: Random, text: Text, index: int, font: str, size: int, headline: float) -> Line:
    is_title = text.title and index == 0
    line = letter(rng, text.plain.split("\n")[index], font, int(size * headline) if is_title else size)
    if not is_title:
        return line
    # The space under a title is part of it.
    spaced = compose([(line, 0, 0)], [(0, line.height + size // 2 - 1, 0, line.height + size // 2)])
    return Line(spaced.mask, spaced.marks)


def _thought(shown: Page) -> str:
    count = len(shown.text.lines)
    return f"The image shows {number_word(count)} {'line' if count == 1 else 'lines'} of text."


def reading(rng: Random, shown: Page) -> Turn:
    return Turn(Task.READ, rng.choice(READ), _thought(shown), shown.text.plain)


def as_markdown(rng: Random, shown: Page) -> Turn:
    return Turn(Task.READ, rng.choice(MARKDOWN), _thought(shown), shown.text.markdown)


def turns(rng: Random, shown: Page) -> tuple[Turn, ...]:
    """What may be asked of a page of text, the reading first."""
    text, chance = shown.text, rng.random()
    if chance < 0.05:
        colours = f"in {shown.shown.front} on {article(shown.shown.back)} background"
        sentence = f'The text "{" ".join(text.lines)}" {colours}.'
        return (Turn(Task.DESCRIBE, rng.choice(DESCRIBE), _thought(shown), sentence),)
    if chance < (0.7 if text.title else 0.1):
        return (as_markdown(rng, shown),)
    if chance < 0.16:
        question = rng.choice(("How many lines of text are there?", "How many lines?"))
        return reading(rng, shown), Turn(Task.COUNT, question, "I count the lines.", str(len(text.lines)))
    if chance < 0.22:
        question = f"What {colour_word(rng)} is the text?"
        return reading(rng, shown), Turn(
            Task.ATTRIBUTE, question, "I look at the letters.", shown.shown.front
        )
    return (reading(rng, shown),)
