"""Receipts: a shop, what was bought, the sum; read as lines or as JSON."""

from __future__ import annotations

import json
from dataclasses import dataclass
from random import Random

from .conversation import Task, Turn
from .lettering import any_font, letter
from .page import Block, Shown, compose, letter_size, show, shrinking
from .phrases import READ
from .writing import pseudo_word, words

SMALLEST = 10
_AS_JSON = (
    "Read this receipt. Answer as JSON.",
    "Extract the receipt as JSON with the keys shop, items and total.",
    'Answer as JSON: {"shop": string, "items": [{"name": string, "price": number}], "total": number}',
    "Return this receipt as a JSON object.",
)
_READ = ("Read this receipt.", "Read the receipt.", "Transcribe this receipt.", *READ[:6])


@dataclass(frozen=True, slots=True)
class Receipt:
    """Prices in cents."""

    shop: str
    items: tuple[tuple[str, int], ...]

    @property
    def total(self) -> int:
        return sum(cents for _, cents in self.items)

    @property
    def plain(self) -> str:
        lines = [
            self.shop,
            *(f"{name} {money(cents)}" for name, cents in self.items),
            f"TOTAL {money(self.total)}",
        ]
        return "\n".join(lines)

    @property
    def json(self) -> str:
        items = [f'{{"name": {json.dumps(name)}, "price": {money(cents)}}}' for name, cents in self.items]
        shop, total = json.dumps(self.shop), money(self.total)
        return f'{{"shop": {shop}, "items": [{", ".join(items)}], "total": {total}}}'


def money(cents: int) -> str:
    return f"{cents // 100}.{cents % 100:02d}"


@dataclass(frozen=True, slots=True)
class ReceiptPage:
    receipt: Receipt
    shown: Shown


def some_receipt(rng: Random, held_out: bool) -> Receipt:
    def word(most: int) -> str:
        text = pseudo_word(rng, most) if rng.random() < 0.5 else rng.choice(words(held_out))[:most]
        return text.replace("i", "e", 1).capitalize() if text[0] == "i" else text.capitalize()

    shop = word(9)
    if rng.random() < 0.5:
        shop = shop.upper()
    if rng.random() < 0.3:
        shop += rng.choice((" Cafe", " Shop", " Market", " Bar"))
    items = tuple((word(8), rng.randint(5, 3000)) for _ in range(rng.randint(1, 4)))
    return Receipt(shop, items)


def receipt_page(rng: Random, receipt: Receipt) -> ReceiptPage:
    font, gap, dashed = any_font(rng), rng.randint(2, 6), rng.random() < 0.6
    room = rng.randint(10, 40)
    for size in shrinking(min(20, letter_size(rng, SMALLEST)), SMALLEST):
        block = _laid_out(rng, receipt, font, size, gap, room, dashed)
        if block.fits:
            break
    return ReceiptPage(receipt, show(rng, block))


def _laid_out(
    rng: Random, receipt: Receipt, font: str, size: int, gap: int, room: int, dashed: bool
) -> Block:
    pairs = [*receipt.items, ("TOTAL", receipt.total)]
    names = [letter(rng, name, font, size) for name, _ in pairs]
    prices = [letter(rng, money(cents), font, size) for _, cents in pairs]
    shop = letter(rng, receipt.shop, font, size)
    width = max(shop.width, max(name.width for name in names) + room + max(line.width for line in prices))
    height = max(line.height for line in (shop, *names, *prices)) + gap
    placed = [(shop, (width - shop.width) // 2, 0)]
    rules: list[tuple[int, int, int, int]] = []
    top = height
    for index, (name, amount) in enumerate(zip(names, prices, strict=True)):
        if dashed and index in (0, len(names) - 1):
            rules += [(left, top, min(width, left + 4), top + 1) for left in range(0, width, 7)]
            top += 4
        placed += [(name, 0, top), (amount, width - amount.width, top)]
        top += height
    return compose(placed, rules)


def _thought(shown: ReceiptPage) -> str:
    count = len(shown.receipt.items)
    return f"The image shows a receipt with {count} item{'' if count == 1 else 's'}."


def as_json(rng: Random, shown: ReceiptPage) -> Turn:
    return Turn(Task.JSON, rng.choice(_AS_JSON), _thought(shown), shown.receipt.json)


def as_lines(rng: Random, shown: ReceiptPage) -> Turn:
    return Turn(Task.RECEIPT, rng.choice(_READ), _thought(shown), shown.receipt.plain)


def turns(rng: Random, shown: ReceiptPage) -> tuple[Turn, ...]:
    return (rng.choice((as_json, as_lines))(rng, shown),)
