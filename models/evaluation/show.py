"""
A sheet of questions and answers with their pictures: `python -m models.evaluation.show SHEET.png`.

What is shown comes as JSON on stdin, in the words of `show.ts`.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Literal

import msgspec
from PIL import Image, ImageDraw, ImageFont

FONTS = Path(__file__).parents[1] / "training" / "fonts"

COLUMNS = 4
WIDTH = 300
"""Of a tile."""
GAP = 16
PAD = 14
AREA = (WIDTH - 2 * PAD, 176)
"""What the pictures of a tile fit into."""
LARGEST_SCALE = 3.0
SEAM = 6
"""Between the pictures of a tile."""
MOST_FRAMES = 4
MOST_LINES = 9
"""Of one text; what is longer is cut."""

GROUND, PAPER, EDGE = "#f2f3f5", "#ffffff", "#d5d9df"
INK, FAINT, GREEN, RED = "#1c2430", "#6a7482", "#0a7d3c", "#c42b1c"

Box = tuple[float, float, float, float]


class Tile(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    group: str
    pictures: list[str]
    question: str
    expected: str
    given: str
    right: bool
    expected_boxes: list[Box]
    given_boxes: list[Box]


Face = Literal["inter", "inter-bold", "jetbrains-mono"]


@cache
def font(name: Face, size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(FONTS / f"{name}.ttf", size)


def wrapped(text: str, face: ImageFont.FreeTypeFont, width: int) -> list[str]:
    """Broken at blanks where there are any, else wherever a line is full."""
    lines = [piece for line in text.split("\n") for piece in _pieces(line, face, width)]
    return lines if len(lines) <= MOST_LINES else [*lines[: MOST_LINES - 1], "..."]


def _pieces(line: str, face: ImageFont.FreeTypeFont, width: int) -> Iterator[str]:
    while face.getlength(line) > width:
        fitting = next(count for count in range(len(line), 0, -1) if face.getlength(line[:count]) <= width)
        blank = line.rfind(" ", 1, fitting + 1)
        end = fitting if blank < 0 else blank
        yield line[:end]
        line = line[end:].removeprefix(" ")
    yield line


class Canvas:
    """A tile that grows downwards."""

    def __init__(self) -> None:
        self.image = Image.new("RGB", (WIDTH, 2000), PAPER)
        self.draw = ImageDraw.Draw(self.image)
        self.y = PAD

    def text(self, text: str, name: Face, size: int, fill: str, space: int) -> None:
        face = font(name, size)
        for line in wrapped(text, face, WIDTH - 2 * PAD):
            self.draw.text((PAD, self.y), line, fill=fill, font=face)
            self.y += round(size * 1.35)
        self.y += space

    def picture(self, picture: Image.Image) -> None:
        self.draw.rectangle((PAD, self.y, WIDTH - PAD - 1, self.y + AREA[1] - 1), fill=GROUND)
        left, top = PAD + (AREA[0] - picture.width) // 2, self.y + (AREA[1] - picture.height) // 2
        self.image.paste(picture, (left, top))
        self.y += AREA[1] + 12

    def finished(self) -> Image.Image:
        height = self.y + PAD - 8
        self.draw.rectangle((0, 0, WIDTH - 1, height - 1), outline=EDGE)
        return self.image.crop((0, 0, WIDTH, height))


def rendered(tile: Tile) -> Image.Image:
    canvas = Canvas()
    canvas.text(tile.group, "inter-bold", 13, FAINT, 8)
    canvas.picture(side_by_side(tile))
    canvas.text(tile.question, "inter-bold", 16, INK, 6)
    if tile.right:
        canvas.text(tile.given, "jetbrains-mono", 14, GREEN, 6)
    else:
        canvas.text("expected", "inter", 13, FAINT, 0)
        canvas.text(tile.expected, "jetbrains-mono", 14, INK, 6)
        canvas.text("given", "inter", 13, FAINT, 0)
        canvas.text(tile.given or "(nothing)", "jetbrains-mono", 14, RED, 6)
    return canvas.finished()


def side_by_side(tile: Tile) -> Image.Image:
    """The pictures, or some frames of the video, as large as they fit; boxes are drawn into the first."""
    pictures = [Image.open(path).convert("RGB") for path in spread(tile.pictures, MOST_FRAMES)]
    seams = SEAM * (len(pictures) - 1)
    total, highest = sum(picture.width for picture in pictures), max(picture.height for picture in pictures)
    scale = min(LARGEST_SCALE, (AREA[0] - seams) / total, AREA[1] / highest)
    pictures = [scaled(picture, scale) for picture in pictures]
    if not tile.right:
        outline(pictures[0], tile.expected_boxes, scale, GREEN)
    outline(pictures[0], tile.given_boxes, scale, GREEN if tile.right else RED)
    size = sum(picture.width for picture in pictures) + seams, max(picture.height for picture in pictures)
    strip = Image.new("RGB", size, GROUND)
    left = 0
    for picture in pictures:
        strip.paste(picture, (left, 0))
        left += picture.width + SEAM
    return strip


def scaled(picture: Image.Image, scale: float) -> Image.Image:
    size = max(1, round(picture.width * scale)), max(1, round(picture.height * scale))
    picture = picture.resize(size, Image.Resampling.LANCZOS)
    # A white picture would have no end on this paper.
    ImageDraw.Draw(picture).rectangle((0, 0, size[0] - 1, size[1] - 1), outline=EDGE)
    return picture


def spread(paths: Sequence[str], most: int) -> list[str]:
    """All of them, or as many as may be, from the first to the last."""
    if len(paths) <= most:
        return list(paths)
    return [paths[round(index * (len(paths) - 1) / (most - 1))] for index in range(most)]


def outline(picture: Image.Image, boxes: Sequence[Box], scale: float, colour: str) -> None:
    """With a white rim, to be seen on every colour."""
    draw = ImageDraw.Draw(picture)
    for box in boxes:
        left, top, right, bottom = (round(edge * scale) for edge in box)
        for rim, line in ((2, "#ffffff"), (1, colour), (0, colour)):
            edges = left - rim, top - rim, max(left, right - 1) + rim, max(top, bottom - 1) + rim
            draw.rectangle(edges, outline=line)


def sheet(tiles: Sequence[Tile]) -> Image.Image:
    """Each tile in the column that is shortest so far."""
    columns: list[list[Image.Image]] = [[] for _ in range(min(COLUMNS, len(tiles)))]
    heights = [GAP] * len(columns)
    for tile in map(rendered, tiles):
        shortest = heights.index(min(heights))
        columns[shortest].append(tile)
        heights[shortest] += tile.height + GAP
    whole = Image.new("RGB", (GAP + len(columns) * (WIDTH + GAP), max(heights)), GROUND)
    for index, column in enumerate(columns):
        top = GAP
        for tile in column:
            whole.paste(tile, (GAP + index * (WIDTH + GAP), top))
            top += tile.height + GAP
    return whole


def save(shown: Image.Image, path: Path) -> None:
    # A third of the bytes; the dots are seen in photographs only.
    few = shown.quantize(256)
    shown.quantize(palette=few, dither=Image.Dither.FLOYDSTEINBERG).save(path, optimize=True)


if __name__ == "__main__":
    (path,) = sys.argv[1:]
    save(sheet(msgspec.json.decode(sys.stdin.buffer.read(), type=list[Tile])), Path(path))
