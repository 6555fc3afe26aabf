"""Coordinates as the model writes them, read out of a piece of its answer."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass

from .geometry import Box

_number = r"(-?\d+(?:\.\d+)?)"
_comma = r"(?:\s*,\s*|\s+)"
_two = rf"[\[(<{{]\s*{_number}{_comma}{_number}\s*[\])>}}]"
_four = rf"[\[(<{{]\s*{_comma.join([_number] * 4)}\s*[\])>}}]"
_four_numbers = re.compile(rf"{_four}|{_two}\s*,?\s*{_two}", re.ASCII)
"""zai-org/GLM-V (README): "The bracket style may vary ([], [[]], (), <>, etc.)". Two corners are one."""
_object_or_box = re.compile(rf"(?P<object>{{[^{{}}]*}})|{_four_numbers.pattern}", re.ASCII)

BOX_FIELD = "bbox_2d"
BOX_FIELDS = (BOX_FIELD, "bbox", "box_2d", "box")
LABEL_FIELDS = ("label", "name")


@dataclass(frozen=True, slots=True)
class Grounded:
    """A box on the model's grid, its corners in the order in which they were written."""

    box: Box
    label: str | None = None
    """Where the box is a field of a JSON object that names it."""


def read_boxes(text: str) -> list[Grounded]:
    """Every four numbers in brackets, of any shape, in JSON or not."""
    found: list[Grounded] = []
    for match in _object_or_box.finditer(text):
        within = match["object"]
        labelled = list(_of_object(within, BOX_FIELDS)) if within else []
        found.extend(labelled or _every_box(match[0]))
    return found


def read_object(text: str) -> list[Grounded]:
    """The boxes of one JSON object that says by the name `bbox_2d` that it has any."""
    return list(_of_object(text, (BOX_FIELD,)))


def _of_object(text: str, box_fields: tuple[str, ...]) -> Iterator[Grounded]:
    try:
        fields = json.loads(text)
    except (ValueError, RecursionError):
        return
    label = next((_label(fields[name]) for name in LABEL_FIELDS if name in fields), None)
    for name in box_fields:
        if name in fields:
            yield from _every_box(json.dumps(fields[name]), label)
            return


def _label(value: object) -> str | None:
    # JSON can hold half a surrogate pair, which no message can.
    text = value.encode(errors="replace").decode().strip() if isinstance(value, str) else ""
    return text or None


def _every_box(text: str, label: str | None = None) -> Iterator[Grounded]:
    for match in _four_numbers.finditer(text):
        x1, y1, x2, y2 = (float(number) for number in match.groups() if number is not None)
        yield Grounded((x1, y1, x2, y2), label)
