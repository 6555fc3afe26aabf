"""
What the worker and the process that extracts say to each other: one JSON object a line. Pixels follow
`Picture` raw.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from msgspec import Struct


class _Line(Struct, frozen=True, tag_field="type", tag=str.lower):
    """`file` counts the files of the process."""


class OpenVideo(_Line, frozen=True):
    """Answered with `Video` or `Refused`."""

    file: int


class OpenPdf(_Line, frozen=True):
    """Answered with `Pdf` or `Refused`; `pages` count from 0, absent: as many as `most`."""

    file: int
    pages: Sequence[int] | None
    most: int


class TakeFrames(_Line, frozen=True):
    """Answered with one `Picture` for each of `indices`, which rise, or `Refused`."""

    file: int
    indices: Sequence[int]


class RenderPage(_Line, frozen=True):
    """Answered with a `Picture` of just this size, or `Refused`."""

    file: int
    page: int
    width: int
    height: int


class Video(_Line, frozen=True):
    """`width` and `height` are those of an upright frame."""

    frames: int
    fps: float
    width: int
    height: int


class Pdf(_Line, frozen=True):
    """`pages` are those of the document; `sizes` are widths and heights in points, of the pages asked for."""

    pages: int
    sizes: Sequence[tuple[float, float]]


class Picture(_Line, frozen=True):
    """Followed by height × width × 3 bytes, RGB."""

    width: int
    height: int


class Refused(_Line, frozen=True):
    """
    `message` goes on where the name of the file ends. `package` is the one that is missing, if that is why.
    """

    message: str
    hint: str | None = None
    package: str | None = None


Command = OpenVideo | OpenPdf | TakeFrames | RenderPage
Answer = Video | Pdf | Picture | Refused

decode_command: msgspec.json.Decoder[Command] = msgspec.json.Decoder(Command)
decode_answer: msgspec.json.Decoder[Answer] = msgspec.json.Decoder(Answer)


class Unreadable(Exception):
    """The file cannot be read, or not as it was asked for; `refused` says why."""

    def __init__(self, message: str, hint: str | None = None, package: str | None = None) -> None:
        super().__init__(message)
        self.refused = Refused(message, hint, package)


def encode_line(message: Command | Answer) -> bytes:
    return msgspec.json.encode(message) + b"\n"
