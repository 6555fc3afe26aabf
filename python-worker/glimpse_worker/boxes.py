"""Boxes that the model points with, read out of its answer."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from .geometry import Geometry
from .protocol import BoxPart

_number = r"\s*(-?\d+(?:\.\d+)?)\s*"
_four_numbers = re.compile(rf"[\[(]{','.join([_number] * 4)}[\])]", re.ASCII)
"""The bracket shape varies between answers: [..], [[..],[..]], (..)."""


class BoxPlace(NamedTuple):
    """What a box is in: a medium of the request and, of a PDF, its page, counted from 1."""

    image: int
    page: int | None


class BoxReader:
    """Collects what stands between box tokens and finds every group of four numbers in brackets there.

    The answer does not say which picture it points into: the last one is assumed. Without pictures there are
    no boxes.
    """

    def __init__(self, geometries: Sequence[Geometry], places: Sequence[BoxPlace] = ()) -> None:
        """`places` are those of `geometries`; without them each is of a medium of its own."""
        self._geometries = geometries
        self._places = places or [BoxPlace(image, None) for image in range(len(geometries))]
        self._text: list[str] | None = None
        self.image_assumed = False
        """Whether a box was found that could have meant another picture."""

    def open(self) -> None:
        self._text = []

    def read(self, text: str) -> None:
        if self._text is not None:
            self._text.append(text)

    def close(self) -> list[BoxPart]:
        """The boxes since `open`; none when nothing is open."""
        groups = _four_numbers.findall("".join(self._text or ()))
        self._text = None
        if not self._geometries or not groups:
            return []
        self.image_assumed |= len(self._geometries) > 1
        image, page = self._places[-1]
        return [BoxPart(image=image, page=page, box=self._to_pixels(group)) for group in groups]

    def _to_pixels(self, group: tuple[str, str, str, str]) -> tuple[float, float, float, float]:
        x1, y1, x2, y2 = map(float, group)
        return self._geometries[-1].to_pixels((x1, y1, x2, y2))
