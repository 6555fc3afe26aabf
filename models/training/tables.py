"""Small tables, with and without lines, and their Markdown."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from .conversation import Task, Turn
from .lettering import any_font, letter
from .page import Block, Shown, compose, letter_size, show, shrinking
from .phrases import MARKDOWN, READ
from .writing import DIGITS, price, pseudo_word, random_string, words

SMALLEST = 10
_ASK = (
    "Convert this table to Markdown.",
    "Read the table.",
    "Give me the table as Markdown.",
    "OCR this table.",
    "Extract the table.",
)


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of cells, the first one the heads."""

    rows: tuple[tuple[str, ...], ...]

    @property
    def markdown(self) -> str:
        head, *body = (f"| {' | '.join(row)} |" for row in self.rows)
        rule = f"|{' --- |' * len(self.rows[0])}"
        return "\n".join([head, rule, *body])


@dataclass(frozen=True, slots=True)
class TablePage:
    table: Table
    shown: Shown


def some_table(rng: Random, held_out: bool) -> Table:
    columns = rng.choice((2, 2, 3, 3, 4))
    rows = rng.randint(1, 4 if columns < 4 else 3)
    longest = 8 if columns < 4 else 6
    makers = [rng.choice((_word, _word, _number, _price)) for _ in range(columns - 1)]
    makers.insert(0, _word)
    head = tuple(_word(rng, longest, held_out).capitalize() for _ in range(columns))
    body = (tuple(make(rng, longest, held_out) for make in makers) for _ in range(rows))
    return Table((head, *body))


def _word(rng: Random, most: int, held_out: bool) -> str:
    word = pseudo_word(rng, most) if rng.random() < 0.5 else rng.choice(words(held_out))[:most]
    return word.capitalize() if rng.random() < 0.5 and word[0] != "i" else word


def _number(rng: Random, most: int, held_out: bool) -> str:
    del held_out
    return random_string(rng, rng.randint(1, min(4, most)), DIGITS)


def _price(rng: Random, most: int, held_out: bool) -> str:
    del most, held_out
    return price(rng, 99)


def table_page(rng: Random, table: Table) -> TablePage:
    font = any_font(rng)
    ruled, pad = rng.choice(("all", "head", "none")), rng.randint(4, 9)
    for size in shrinking(min(22, letter_size(rng, SMALLEST)), SMALLEST):
        block = _laid_out(rng, table, font, size, ruled, pad)
        if block.fits:
            break
    return TablePage(table, show(rng, block))


def _laid_out(rng: Random, table: Table, font: str, size: int, ruled: str, pad: int) -> Block:
    lines = [[letter(rng, cell, font, size) for cell in row] for row in table.rows]
    widths = [max(line.width for line in column) + 2 * pad for column in zip(*lines, strict=True)]
    row_height = max(line.height for row in lines for line in row) + pad
    lefts = [sum(widths[:index]) for index in range(len(widths))]
    placed = [
        (line, left + pad, row * row_height + pad // 2)
        for row, cells in enumerate(lines)
        for line, left in zip(cells, lefts, strict=True)
    ]
    right, bottom = sum(widths), row_height * len(lines)
    rules = []
    if ruled == "all":
        rules += [(left, 0, left + 1, bottom + 1) for left in (*lefts, right)]
        rules += [(0, row * row_height, right + 1, row * row_height + 1) for row in range(len(lines) + 1)]
    elif ruled == "head":
        rules.append((0, row_height, right, row_height + 1))
    return compose(placed, rules)


def turns(rng: Random, shown: TablePage) -> tuple[Turn, ...]:
    rows, columns = len(shown.table.rows), len(shown.table.rows[0])
    thought = f"The image shows a table of {rows} rows and {columns} columns."
    return (Turn(Task.TABLE, rng.choice(_ASK + MARKDOWN[:4] + READ[:3]), thought, shown.table.markdown),)
