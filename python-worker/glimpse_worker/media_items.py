"""What a request shows, once the headers of its media are read."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from .decoding import Remembered
from .pixels import Pixels
from .prompt import MediumTokens
from .protocol import CountedMedium


@dataclass(frozen=True, slots=True)
class Item:
    """
    One thing that the prompt shows: a picture, a page of a PDF, or a video. `keys` are those of its temporal
    patches, known before anything is decoded. `name` is what messages call it, or one of its frames.
    """

    tokens: MediumTokens
    keys: tuple[bytes, ...]
    name: Callable[[int], str]
    decode: Callable[[], tuple[Pixels, Remembered]]
    """Raises Cancelled, or a WorkerFailure that names the medium."""
    page: int | None = None
    """Of a PDF, counted from 1."""


@dataclass(frozen=True, slots=True)
class OpenMedium:
    """One medium of a request. `items` stand in the prompt in this order, at the medium's place."""

    items: Sequence[Item]
    counted: CountedMedium
