"""Boxes that the model points with, found in its answer while it arrives."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from .geometry import Geometry
from .grounding import Grounded, read_boxes, read_object
from .protocol import BoxPart

MAX_OBJECT = 1_000
"""Characters after which an unclosed brace is no longer waited for: objects with a box are short."""


class BoxPlace(NamedTuple):
    """What a box is in: a medium of the request and, of a PDF, its page, counted from 1."""

    image: int
    page: int | None


class BoxReader:
    """Finds boxes between box tokens, in every shape that the model writes, and in JSON objects with a
    `bbox_2d` anywhere in the answer.

    The answer does not say which picture it points into: the last one is assumed. Without pictures there are
    no boxes.
    """

    def __init__(self, geometries: Sequence[Geometry], places: Sequence[BoxPlace] = ()) -> None:
        """`places` are those of `geometries`; without them each is of a medium of its own."""
        self._geometries = geometries
        self._places = places or [BoxPlace(image, None) for image in range(len(geometries))]
        self._text: list[str] | None = None
        """What stands after the opening token, while it is not closed."""
        self._object: list[str] = []
        """Outside box tokens: the text since the last opening brace."""
        self._object_length = 0
        self.image_assumed = False
        """Whether a box was found that could have meant another picture."""

    def open(self) -> None:
        self._text = []
        self._forget_object()

    def read(self, text: str) -> list[tuple[str, list[BoxPart]]]:
        """`text` in pieces, each with the boxes that follow it."""
        if self._text is None:
            return list(self._read_unboxed(text))
        self._text.append(text)
        return [(text, [])]

    def _read_unboxed(self, text: str) -> Iterator[tuple[str, list[BoxPart]]]:
        start = 0
        for index, character in enumerate(text):
            if character == "{":
                self._object, self._object_length = ["{"], 1
            elif self._object_length:
                self._object.append(character)
                self._object_length += 1
            if character == "}" and self._object_length:
                boxes = self._objects_boxes("".join(self._object))
                self._forget_object()
                if boxes:
                    yield text[start : index + 1], boxes
                    start = index + 1
            elif self._object_length > MAX_OBJECT:
                self._forget_object()
        yield text[start:], []

    def close(self) -> list[BoxPart]:
        """The boxes since `open`; none when nothing is open."""
        self._forget_object()
        text, self._text = self._text, None
        return [] if text is None else self._parts(read_boxes("".join(text)))

    def _objects_boxes(self, text: str) -> list[BoxPart]:
        return self._parts(read_object(text))

    def _forget_object(self) -> None:
        self._object, self._object_length = [], 0

    def _parts(self, found: Sequence[Grounded]) -> list[BoxPart]:
        if not self._geometries or not found:
            return []
        self.image_assumed |= len(self._geometries) > 1
        (image, page), geometry = self._places[-1], self._geometries[-1]
        return [
            BoxPart(image=image, page=page, box=geometry.to_pixels(one.box), label=one.label) for one in found
        ]
