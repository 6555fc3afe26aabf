"""
Pictures of what is trained: `python -m models.training.show DIR`.

Writes `samples.png`, some samples of each kind with the text that is trained, and `characters.png`, what the
auxiliary loss asks for of one page. The README shows both.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

from PIL import Image, ImageDraw

from models.evaluation.show import FAINT, GREEN, PAPER, RED, Tile, font, save, sheet

from . import reading
from .conversation import ALPHABET, Clip, Picture, Turn
from .mixture import Kind, draw
from .sight import CELL

SHOWN: tuple[tuple[Kind, int], ...] = (
    ("page", 21),
    ("scene", 16),
    ("page", 20),
    ("video", 6),
    ("scene", 20),
    ("page", 0),
    ("scene", 34),
    ("table", 3),
    ("receipt", 7),
    ("video", 9),
    ("several", 1),
    ("photograph", 5),
    ("text video", 6),
)
"""Kinds and seeds, for a sheet on which everything is seen once."""

SCALE = 4
"""Of the page whose characters are shown."""


def tiles(folder: Path) -> Iterator[Tile]:
    for kind, seed in SHOWN:
        turn, *_ = draw(Random(seed), kind=kind).turns
        said = f"<think>{turn.thought}</think>\n<answer>{turn.answer}</answer>"
        yield Tile(
            group=kind,
            pictures=[str(path) for path in _saved(folder / f"{kind}-{seed}", turn)],
            question=turn.question,
            expected=said,
            given=said,
            right=True,
            expected_boxes=[],
            given_boxes=[],
        )


def _saved(folder: Path, turn: Turn) -> Iterator[Path]:
    folder.mkdir()
    for index, picture in enumerate(_originals(turn)):
        path = folder / f"{index:02}.png"
        picture.save(path)
        yield path


def _originals(turn: Turn) -> Iterator[Image.Image]:
    for medium in turn.media:
        match medium:
            case Picture():
                yield medium.original
            case Clip():
                yield from medium.originals


def characters() -> Image.Image:
    """A page with the cells of its merged visual tokens, and in each the characters that it is asked for."""
    page = reading.page(Random(4), reading.Text(("Open daily", "from 9 to 5")), least=16)
    picture = page.shown.picture
    assert picture.characters is not None
    rows, columns = picture.pixels.shape[0] // CELL, picture.pixels.shape[1] // CELL
    side = CELL * SCALE
    seen = Image.fromarray(picture.pixels).resize((columns * side, rows * side), Image.Resampling.NEAREST)
    canvas = ImageDraw.Draw(seen)
    for index, codes in enumerate(picture.characters):
        left, top = index % columns * side, index // columns * side
        canvas.rectangle((left, top, left + side, top + side), outline=FAINT)
        asked = "".join(ALPHABET[code - 1] for code in codes if code)
        if asked:
            label = font("jetbrains-mono", 20)
            box = canvas.textbbox((left + 5, top + 3), asked, font=label)
            canvas.rectangle((box[0] - 3, box[1] - 2, box[2] + 3, box[3] + 2), fill=PAPER, outline=GREEN)
            canvas.text((left + 5, top + 3), asked, fill=RED, font=label)
    return seen


if __name__ == "__main__":
    (name,) = sys.argv[1:]
    out = Path(name)
    out.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory() as scratch:
        save(sheet(list(tiles(Path(scratch)))), out / "samples.png")
    save(characters(), out / "characters.png")
