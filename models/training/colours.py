"""Colours that have names, and which of them cannot be told apart."""

from __future__ import annotations

from random import Random

Rgb = tuple[int, int, int]

COLOURS: dict[str, list[Rgb]] = {
    "red": [(255, 0, 0), (220, 30, 30), (200, 20, 40)],
    "green": [(0, 128, 0), (0, 255, 0), (30, 170, 60)],
    "blue": [(0, 0, 255), (40, 70, 220), (30, 100, 230)],
    "yellow": [(255, 255, 0), (245, 220, 40)],
    "orange": [(255, 165, 0), (255, 140, 0), (245, 130, 30)],
    "purple": [(128, 0, 128), (140, 50, 180)],
    "pink": [(255, 192, 203), (255, 105, 180), (250, 150, 200)],
    "cyan": [(0, 255, 255), (40, 210, 220)],
    "brown": [(165, 42, 42), (139, 69, 19), (120, 72, 36)],
    "black": [(0, 0, 0), (12, 12, 12)],
    "white": [(255, 255, 255), (248, 248, 248)],
    "gray": [(128, 128, 128), (150, 150, 150), (110, 110, 110)],
}
NAMES = tuple(COLOURS)

# A shape of one of these on a ground of the other cannot be made out with certainty.
_ALIKE = {
    frozenset(pair)
    for pair in (
        ("white", "yellow"),
        ("white", "pink"),
        ("white", "cyan"),
        ("red", "brown"),
        ("red", "orange"),
        ("black", "brown"),
        ("orange", "yellow"),
        ("pink", "gray"),
        ("brown", "purple"),
        ("brown", "gray"),
    )
}
_LEAST_CONTRAST = 85


def shade(rng: Random, name: str) -> Rgb:
    """A colour that people would call by this name."""
    red, green, blue = rng.choice(COLOURS[name])
    jitter = rng.choice((0, 0, 8, 14))
    if not jitter:
        return red, green, blue
    return _near(rng, red, jitter), _near(rng, green, jitter), _near(rng, blue, jitter)


def _near(rng: Random, value: int, jitter: int) -> int:
    return max(0, min(255, value + rng.randint(-jitter, jitter)))


def ground(rng: Random) -> str:
    """The name of a background."""
    chance = rng.random()
    return "white" if chance < 0.45 else "black" if chance < 0.56 else rng.choice(NAMES)


def differs(name: str, other: str) -> bool:
    return name != other and frozenset((name, other)) not in _ALIKE


def on_ground(rng: Random, background: str) -> str:
    """The name of a colour that stands out from this one."""
    return rng.choice([name for name in NAMES if differs(name, background)])


def ink(rng: Random) -> tuple[str, Rgb, str, Rgb]:
    """Name and shade of letters, name and shade of what they stand on: legible together."""
    if rng.random() < 0.5:
        front, back = ("black", "white") if rng.random() < 0.85 else ("white", "black")
        return front, shade(rng, front), back, shade(rng, back)
    while True:
        front, back = rng.sample(NAMES, 2)
        letters, page = shade(rng, front), shade(rng, back)
        if abs(_brightness(letters) - _brightness(page)) > _LEAST_CONTRAST:
            return front, letters, back, page


def _brightness(colour: Rgb) -> float:
    red, green, blue = colour
    return 0.3 * red + 0.59 * green + 0.11 * blue
