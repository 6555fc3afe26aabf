"""Boxes are drawn on every kind of picture, in the pixels that the model's boxes are in."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest
from PIL import Image

from glimpse_worker.draw_boxes import Drawing, DrawnBox, draw_boxes
from glimpse_worker.failure import WorkerFailure

RED = (255, 0, 0)


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def drawn(data: bytes, *box: float, label: str | None = None, line_width: int | None = None) -> Image.Image:
    left, top, right, bottom = box
    one = DrawnBox(box=(left, top, right, bottom), color="#ff0000", label=label)
    return draw_boxes(data, Drawing(boxes=[one], line_width=line_width))


def is_red(image: Image.Image, x: int, y: int) -> bool:
    pixel = image.convert("RGB").getpixel((x, y))
    assert isinstance(pixel, tuple)
    return all(abs(a - b) < 30 for a, b in zip(pixel, RED, strict=True))


@pytest.mark.parametrize(
    ("mode", "kind"),
    [
        ("RGB", "PNG"),
        ("RGBA", "PNG"),
        ("P", "PNG"),
        ("I;16", "PNG"),
        ("L", "JPEG"),
        ("CMYK", "JPEG"),
        ("RGB", "WEBP"),
        ("P", "GIF"),
    ],
)
def test_every_kind_of_picture_can_be_drawn_on(mode: str, kind: str) -> None:
    data = encoded(Image.new(mode, (120, 80)), kind)
    image = drawn(data, 20, 10, 100, 70, line_width=3)
    assert image.size == (120, 80)
    assert is_red(image, 21, 40)
    assert is_red(image, 60, 69)
    assert not is_red(image, 60, 40)
    assert not is_red(image, 10, 5)


def test_boxes_are_in_pixels_of_the_upright_picture() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # Turned a quarter.
    image = drawn(encoded(Image.new("RGB", (120, 80)), "JPEG", exif=exif), 10, 90, 70, 110, line_width=3)
    assert image.size == (80, 120)
    assert is_red(image, 40, 91)


def test_a_picture_that_was_padded_for_the_model_is_not_here() -> None:
    assert drawn(encoded(Image.new("RGB", (30, 9000)), "PNG"), 0, 0, 10, 10).size == (30, 9000)


def test_a_label_stands_above_its_box_or_inside_where_there_is_no_room() -> None:
    data = encoded(Image.new("RGB", (200, 100)), "PNG")
    assert is_red(drawn(data, 20, 50, 150, 90, label="a"), 21, 48)
    at_the_top = drawn(data, 20, 0, 150, 90, label="a")
    assert at_the_top.crop((22, 2, 32, 10)).getbbox() is not None
    assert at_the_top.crop((100, 2, 110, 10)).getbbox() is None


def test_a_label_stays_in_the_picture_and_may_be_anything() -> None:
    data = encoded(Image.new("RGB", (200, 100)), "PNG")
    for label in ("a very long label " * 20, "猫 😀", "two\nlines", " "):
        assert drawn(data, 150, 50, 200, 90, label=label).size == (200, 100)


def test_a_box_may_be_a_point_or_lie_beyond_the_picture() -> None:
    data = encoded(Image.new("RGB", (20, 20)), "PNG")
    for box in ((5, 5, 5, 5), (-10, -10, 100, 100), (30, 30, 40, 40), (0.25, 0.5, 10.75, 19.99)):
        assert drawn(data, *box).size == (20, 20)


def test_what_is_no_picture_is_refused_by_name() -> None:
    with pytest.raises(WorkerFailure) as caught:
        drawn(b"nothing", 0, 0, 1, 1)
    assert caught.value.code == "IMAGE_UNREADABLE"


def run(stdin: bytes, environment: Mapping[str, str] = os.environ) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-P", "-m", "glimpse_worker.draw_boxes"]
    source = str(Path(__file__).parents[1])
    return subprocess.run(
        command, input=stdin, capture_output=True, env={**environment, "PYTHONPATH": source}, timeout=60
    )


def test_the_command_answers_with_a_png_or_with_what_is_wrong() -> None:
    header = msgspec.json.encode(Drawing(boxes=[])) + b"\n"
    done = run(header + encoded(Image.new("RGB", (9, 9)), "PNG"))
    assert (done.returncode, done.stderr) == (0, b"")
    assert Image.open(io.BytesIO(done.stdout)).size == (9, 9)
    refused = run(header + b"GIF89a")
    assert refused.returncode == 1
    assert msgspec.json.decode(refused.stdout)["code"] == "IMAGE_UNREADABLE"
