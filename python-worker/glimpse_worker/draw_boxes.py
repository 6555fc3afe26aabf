"""
A picture with boxes drawn on it. The command `python -P -m glimpse_worker.draw_boxes`, which the library
runs: a line of JSON and the bytes of a picture on stdin, a PNG on stdout. It needs no model and no torch.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Sequence

import msgspec
from PIL import Image, ImageColor, ImageDraw, ImageFont

from .failure import WorkerFailure, failed
from .lifecycle import die_with_parent
from .media import read_picture

EXIT_FAILED = 1
FACTOR = 28
"""Pixels of a token: decides how far a picture beyond 200:1 is padded, which is cut off again."""


class DrawnBox(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Pixels of the upright picture: left, top, right, bottom."""

    box: tuple[float, float, float, float]
    color: str
    """As #rrggbb."""
    label: str | None = None


class Drawing(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    boxes: list[DrawnBox]
    line_width: int | None = None
    """Pixels; absent: by the size of the picture."""


def draw_boxes(data: bytes, drawing: Drawing) -> Image.Image:
    """The picture as the model sees it: upright, on white where it is transparent. Raises WorkerFailure."""
    picture = read_picture(data, 0, FACTOR, "the picture")
    image = picture.image.crop((0, 0, picture.width, picture.height))
    longest = max(image.size)
    width = drawing.line_width or max(2, round(longest / 250))
    font = ImageFont.load_default(max(12, round(longest / 45)))
    draw = ImageDraw.Draw(image)
    for one in drawing.boxes:
        left, top, right, bottom = one.box
        draw.rectangle((left, top, right, bottom), outline=one.color, width=width)
    # Above all frames, so that none crosses a name.
    for one in drawing.boxes:
        if one.label:
            _name(draw, one.label, one, font, image.size)
    return image


def _name(
    draw: ImageDraw.ImageDraw,
    label: str,
    one: DrawnBox,
    font: ImageFont.FreeTypeFont | ImageFont.ImageFont,
    size: tuple[int, int],
) -> None:
    """On the frame's upper edge, or inside where there is no room above; never beyond the picture."""
    text = _writable(label, font)
    left, top, right, bottom = draw.textbbox((0, 0), text, font=font)
    width, height = right - left + 4, bottom - top + 4
    x = max(0, min(one.box[0], size[0] - width))
    y = one.box[1] - height if one.box[1] >= height else one.box[1]
    draw.rectangle((x, y, x + width, y + height), fill=one.color)
    draw.text((x + 2 - left, y + 2 - top), text, fill=_readable_on(one.color), font=font)


def _writable(label: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> str:
    """One line. Without FreeType there is a font of Latin letters only."""
    line = " ".join(label.split())
    return (
        line
        if isinstance(font, ImageFont.FreeTypeFont)
        else line.encode("latin-1", "replace").decode("latin-1")
    )


def _readable_on(color: str) -> str:
    red, green, blue = ImageColor.getrgb(color)[:3]
    return "black" if 0.299 * red + 0.587 * green + 0.114 * blue > 140 else "white"


def main(arguments: Sequence[str] = sys.argv[1:]) -> int:
    die_with_parent()
    if arguments:
        sys.stderr.write("glimpse_worker.draw_boxes: takes no arguments; the library runs it\n")
        return EXIT_FAILED
    header, _, data = sys.stdin.buffer.read().partition(b"\n")
    try:
        image = draw_boxes(data, msgspec.json.decode(header, type=Drawing))
    except WorkerFailure as error:
        sys.stdout.buffer.write(msgspec.json.encode(failed(error)))
        return EXIT_FAILED
    out = io.BytesIO()
    image.save(out, "PNG")
    sys.stdout.buffer.write(out.getvalue())
    return 0


if __name__ == "__main__":
    sys.exit(main())
